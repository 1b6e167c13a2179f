#include "common/rpc/shutdown_events.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/concurrency/steady_time.h"

namespace baton {

absl::StatusOr<std::unique_ptr<ShutdownEvents>> ShutdownEvents::Create() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  const int signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  const int request_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (signal_fd < 0 || request_fd < 0) {
    const std::string reason = std::strerror(errno);
    if (signal_fd >= 0) close(signal_fd);
    if (request_fd >= 0) close(request_fd);
    return absl::InternalError(absl::StrCat("no descriptor for signals: ", reason));
  }
  return std::unique_ptr<ShutdownEvents>(new ShutdownEvents(signal_fd, request_fd));
}

ShutdownEvents::~ShutdownEvents() {
  close(signal_fd_);
  close(request_fd_);
}

void ShutdownEvents::Request(std::string reason) {
  {
    absl::MutexLock lock(&mutex_);
    reason_ = std::move(reason);
  }
  const uint64_t one = 1;
  // Fails only if the counter is full, and then Wait is awake anyway.
  [[maybe_unused]] const ssize_t written = write(request_fd_, &one, sizeof one);
}

std::string ShutdownEvents::Wait(absl::Time deadline) {
  std::array<pollfd, 2> watched{pollfd{signal_fd_, POLLIN, 0}, pollfd{request_fd_, POLLIN, 0}};
  while (true) {
    int timeout_ms = -1;
    if (deadline != absl::InfiniteFuture()) {
      const absl::Duration left = deadline - SteadyNow();
      if (left <= absl::ZeroDuration()) return "";
      timeout_ms = static_cast<int>(absl::ToInt64Milliseconds(
          absl::Ceil(std::min(left, absl::Hours(1)), absl::Milliseconds(1))));
    }
    if (poll(watched.data(), watched.size(), timeout_ms) < 0) continue;  // interrupted
    signalfd_siginfo signal{};
    if (read(signal_fd_, &signal, sizeof signal) == sizeof signal)
      return signal.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT";
    uint64_t count = 0;
    if (read(request_fd_, &count, sizeof count) == sizeof count) {
      absl::MutexLock lock(&mutex_);
      return std::exchange(reason_, "");
    }
  }
}

}  // namespace baton
