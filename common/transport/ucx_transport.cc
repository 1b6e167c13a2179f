#include "common/transport/ucx_transport.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <poll.h>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/checksum/crc32c.h"
#include "common/concurrency/steady_time.h"
#include "common/log/check.h"
#include "common/log/log.h"
#include "common/status/status_macros.h"

namespace baton {
namespace {

// Progress calls per hold of the lock, so that senders get in.
constexpr int kProgressBatch = 64;
// How long accepted payloads may take to land after their receiver has gone.
constexpr auto kFormerReceiverGrace = std::chrono::seconds(1);
// How long UCX may take to close connections when the transport goes.
constexpr absl::Duration kClosingLimit = absl::Seconds(2);

uint64_t RandomSource() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Transport>> Transport::Create(TransportOptions options) {
  if (options.name.empty() || options.name.size() > kMaxNameBytes) {
    return absl::InvalidArgumentError(absl::StrCat("a transport's name has 1..", kMaxNameBytes,
                                                   " bytes: \"", options.name, "\""));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<UcxWorker> worker, UcxWorker::Create(options));
  auto transport = std::make_unique<UcxTransport>(std::move(options), std::move(worker));
  RETURN_IF_ERROR(transport->Start());
  return transport;
}

UcxTransport::UcxTransport(TransportOptions options, std::unique_ptr<UcxWorker> worker)
    : options_(std::move(options)),
      core_(std::make_shared<UcxCore>()),
      address_(worker->address()) {
  core_->worker = std::move(worker);
  core_->name = options_.name;
  core_->source = RandomSource();
  last_look_ns_ = absl::ToUnixNanos(SteadyNow());
}

absl::Status UcxTransport::Start() {
  ucp_am_handler_param_t param = {};
  param.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_CB |
                     UCP_AM_HANDLER_PARAM_FIELD_ARG | UCP_AM_HANDLER_PARAM_FIELD_FLAGS;
  param.id = kUcxMessageId;
  param.cb = &UcxTransport::OnMessage;
  param.arg = this;
  param.flags = UCP_AM_FLAG_WHOLE_MSG;
  RETURN_IF_ERROR(FromUcxStatus(ucp_worker_set_am_recv_handler(core_->worker->get(), &param),
                                "ucp_worker_set_am_recv_handler"));
  thread_ = std::thread([this] { Run(); });
  return absl::OkStatus();
}

UcxTransport::~UcxTransport() {
  {
    const std::lock_guard lock(core_->mutex);
    stopping_ = true;
    ucp_worker_signal(core_->worker->get());
  }
  if (thread_.joinable()) thread_.join();
  const std::lock_guard lock(core_->mutex);
  CloseEverything();
  core_->worker.reset();
}

std::shared_ptr<Peer> UcxTransport::FindPeer(uint64_t source) {
  const std::lock_guard lock(core_->mutex);
  const auto found = peers_by_source_.find(source);
  return found == peers_by_source_.end() ? nullptr : found->second;
}

TransportCounters UcxTransport::counters() const {
  return {.frames_sent = core_->frames_sent.load(),
          .bytes_sent = core_->bytes_sent.load(),
          .frames_received = core_->frames_received.load(),
          .bytes_received = core_->bytes_received.load(),
          .frames_refused = core_->frames_refused.load()};
}

void UcxTransport::SetReceiver(FrameKind kind, FrameReceiver* receiver) {
  BATON_CHECK(std::this_thread::get_id() != thread_.get_id());
  std::unique_lock lock(core_->mutex);
  FrameReceiver*& place = receivers_[static_cast<size_t>(kind)];
  WaitForLandings(lock, std::exchange(place, receiver));
}

void UcxTransport::SetStreamReceiver(FrameKind kind, uint64_t stream_id, FrameReceiver* receiver) {
  BATON_CHECK(std::this_thread::get_id() != thread_.get_id());
  std::unique_lock lock(core_->mutex);
  const std::pair key(kind, stream_id);
  FrameReceiver* former = std::exchange(stream_receivers_[key], receiver);
  if (receiver == nullptr) stream_receivers_.erase(key);
  WaitForLandings(lock, former);
}

void UcxTransport::WaitForLandings(std::unique_lock<std::recursive_mutex>& lock,
                                   const FrameReceiver* former) {
  if (former == nullptr) return;
  const auto landed = [&] {
    return std::none_of(landings_.begin(), landings_.end(),
                        [&](const Landing* landing) { return landing->receiver == former; });
  };
  if (changed_.wait_for(lock, kFormerReceiverGrace, landed)) return;
  // A sender that stopped half-way still owns a part of the former receiver's memory: cut it off.
  for (const Landing* landing : landings_) {
    if (landing->receiver != former) continue;
    const auto found = peers_by_source_.find(landing->header.source);
    if (found == peers_by_source_.end()) continue;
    found->second->Fail(absl::DeadlineExceededError(
        absl::StrCat(found->second->name(), " stopped in the middle of a payload")));
  }
  BATON_CHECK(changed_.wait_for(lock, absl::ToChronoMilliseconds(kMemoryReturnLimit), landed))
      << "UCX still writes to memory of a connection that was broken";
}

FrameReceiver* UcxTransport::FindReceiver(const FrameHeader& header) const {
  const auto found = stream_receivers_.find({header.kind, header.stream_id});
  if (found != stream_receivers_.end()) return found->second;
  return receivers_[static_cast<size_t>(header.kind)];
}

std::set<FrameReceiver*> UcxTransport::Receivers() const {
  std::set<FrameReceiver*> all(receivers_.begin(), receivers_.end());
  for (const auto& [key, receiver] : stream_receivers_) all.insert(receiver);
  all.erase(nullptr);
  return all;
}

void UcxTransport::Run() {
  const int event_fd = core_->worker->event_fd();
  absl::Time spin_until = absl::InfinitePast();
  while (true) {
    {
      const std::lock_guard lock(core_->mutex);
      if (stopping_) return;
      const bool busy = ProgressSome();
      CloseFailedPeers();
      if (busy) {
        if (options_.spin > absl::ZeroDuration()) spin_until = SteadyNow() + options_.spin;
        continue;
      }
      last_look_ns_ = absl::ToUnixNanos(SteadyNow());
      if (options_.spin > absl::ZeroDuration() && SteadyNow() < spin_until) continue;
      if (!ArmOrRetry()) continue;
    }
    pollfd event = {.fd = event_fd, .events = POLLIN, .revents = 0};
    while (poll(&event, 1, -1) < 0 && errno == EINTR) {
    }
  }
}

bool UcxTransport::ProgressSome() {
  bool busy = false;
  for (int i = 0; i < kProgressBatch; ++i) {
    if (ucp_worker_progress(core_->worker->get()) == 0) break;
    busy = true;
  }
  return busy;
}

bool UcxTransport::ArmOrRetry() {
  const ucs_status_t status = ucp_worker_arm(core_->worker->get());
  BATON_CHECK(status == UCS_OK || status == UCS_ERR_BUSY) << ucs_status_string(status);
  return status == UCS_OK;
}

void UcxTransport::CloseFailedPeers() {
  for (const std::shared_ptr<UcxPeer>& peer : std::exchange(core_->failed, {})) {
    StartClosing(peer->TakeEndpoint());
    Forget(peer);
  }
  std::erase_if(closing_, [](void* request) {
    if (ucp_request_check_status(request) == UCS_INPROGRESS) return false;
    ucp_request_free(request);
    return true;
  });
}

void UcxTransport::Forget(const std::shared_ptr<UcxPeer>& peer) {
  std::erase(peers_, peer);
  const auto found = peers_by_source_.find(peer->source());
  if (found != peers_by_source_.end() && found->second == peer) {
    peers_by_source_.erase(found);
    BATON_LOG(INFO) << peer->status().message();
    for (FrameReceiver* receiver : Receivers()) receiver->PeerLost(peer->source());
  }
  changed_.notify_all();
}

void UcxTransport::StartClosing(ucp_ep_h endpoint) {
  if (endpoint == nullptr) return;
  ucp_request_param_t param = {};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
  param.flags = UCP_EP_CLOSE_FLAG_FORCE;
  const ucs_status_ptr_t request = ucp_ep_close_nbx(endpoint, &param);
  if (UCS_PTR_IS_PTR(request)) closing_.push_back(request);
}

void UcxTransport::CloseEverything() {
  // Nobody is called any more, but every `done` is: closing by force ends all sends.
  receivers_.fill(nullptr);
  stream_receivers_.clear();
  for (Landing* landing : landings_) landing->receiver = nullptr;
  for (const std::shared_ptr<UcxPeer>& peer : peers_) {
    peer->Send({.kind = FrameKind::kGoodbye}, {}, nullptr, /*has_payload_crc=*/false);
  }
  ProgressSome();
  for (const std::shared_ptr<UcxPeer>& peer : peers_) {
    peer->Fail(absl::UnavailableError("the transport is closed"));
  }
  const absl::Time limit = SteadyNow() + kClosingLimit;
  do {
    ProgressSome();
    CloseFailedPeers();
  } while ((!closing_.empty() || !landings_.empty()) && SteadyNow() < limit);
  if (!landings_.empty()) {
    BATON_LOG(WARNING) << landings_.size() << " payloads never ended";
  }
}

}  // namespace baton
