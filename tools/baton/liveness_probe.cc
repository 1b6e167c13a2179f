#include "tools/baton/liveness_probe.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"

namespace baton {
namespace {

constexpr absl::string_view kQuestion =
    "GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
constexpr absl::string_view kGoodAnswer = "HTTP/1.1 200";
constexpr size_t kMaxReplyBytes = 4096;
constexpr int kLooksPerPatience = 10;
// As many times the patience, at most, for one that has a reason.
constexpr int kMostPatience = 10;

}  // namespace

LivenessProbe::LivenessProbe(LivenessProbe&& other) noexcept
    : patience_(other.patience_),
      port_(std::exchange(other.port_, 0)),
      fd_(std::exchange(other.fd_, -1)),
      sent_(other.sent_),
      reply_(std::move(other.reply_)),
      last_good_(other.last_good_),
      excused_until_(other.excused_until_),
      says_it_hangs_(other.says_it_hangs_),
      next_question_(other.next_question_),
      last_look_(other.last_look_) {}

void LivenessProbe::Start(int port, absl::Time now) {
  Stop();
  port_ = port;
  last_good_ = now;
  excused_until_ = absl::InfinitePast();
  says_it_hangs_ = false;
  last_look_ = now;
  next_question_ = now + patience_ / 3;
}

void LivenessProbe::Stop() {
  Close();
  port_ = 0;
}

int16_t LivenessProbe::events() const { return static_cast<int16_t>(sent_ ? POLLIN : POLLOUT); }

absl::Time LivenessProbe::next_due() const {
  if (!started()) return absl::InfiniteFuture();
  const absl::Time verdict = std::max(last_good_ + patience_, excused_until_);
  return std::min(verdict, fd_ >= 0 ? last_look_ + patience_ / kLooksPerPatience : next_question_);
}

bool LivenessProbe::late(absl::Time now) const {
  // It was asked a third of the patience after the last good answer.
  return started() && now - last_good_ >= patience_ / 2;
}

bool LivenessProbe::hangs(absl::Time now) const {
  return started() && now - last_good_ >= patience_ && now >= excused_until_;
}

bool LivenessProbe::Excuse(absl::Time now) {
  if (says_it_hangs_ || now - last_good_ >= kMostPatience * patience_) return false;
  excused_until_ = now + patience_ / 3;
  return true;
}

void LivenessProbe::Advance(absl::Time now) {
  last_look_ = now;
  if (!started()) return;
  if (fd_ < 0 && now >= next_question_) Ask(now);
  if (fd_ >= 0 && !sent_) Send();
  if (fd_ >= 0 && sent_) Read(now);
}

void LivenessProbe::Ask(absl::Time now) {
  next_question_ = now + patience_ / 3;
  fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd_ < 0) return;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port_));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 &&
      errno != EINPROGRESS)
    Close();
}

void LivenessProbe::Send() {
  const ssize_t n = send(fd_, kQuestion.data(), kQuestion.size(), MSG_NOSIGNAL);
  if (n < 0 && (errno == EAGAIN || errno == ENOTCONN)) return;
  if (n != static_cast<ssize_t>(kQuestion.size())) return Close();
  sent_ = true;
}

void LivenessProbe::Read(absl::Time now) {
  std::array<char, 1024> chunk{};
  ssize_t n = 0;
  while ((n = recv(fd_, chunk.data(), chunk.size(), 0)) > 0) {
    reply_.append(chunk.data(), static_cast<size_t>(n));
    if (reply_.size() > kMaxReplyBytes) return Close();
  }
  if (n < 0 && errno == EAGAIN) return;
  const bool is_good = absl::StartsWith(reply_, kGoodAnswer);
  if (is_good) last_good_ = now;
  if (is_good || !reply_.empty()) says_it_hangs_ = !is_good;
  Close();
}

void LivenessProbe::Close() {
  if (fd_ >= 0) close(std::exchange(fd_, -1));
  sent_ = false;
  reply_.clear();
}

}  // namespace baton
