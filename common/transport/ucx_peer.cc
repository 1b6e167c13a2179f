#include "common/transport/ucx_peer.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

#include "common/checksum/crc32c.h"

namespace baton {
namespace {

// Sends that UCX has not finished, per connection. Credits and windows keep users far below; a
// partner that asks but never reads does not make this process grow past it.
constexpr size_t kMaxPendingSends = 4096;

void Call(const std::function<void(const absl::Status&)>& done, const absl::Status& status) {
  if (done) done(status);
}

// The transports of the lanes in the text that ucp_ep_print_info writes: lines such as
// "#  lane[0]:  2:posix/memory.0 md[1]  -> md[1]/posix/sysdev[255] am am_bw#0".
std::string LanesOf(absl::string_view text) {
  std::set<std::string> lanes;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (!absl::StrContains(line, "lane[")) continue;
    for (absl::string_view word : absl::StrSplit(line, ' ', absl::SkipEmpty())) {
      const size_t colon = word.find(':');
      if (colon == 0 || colon + 1 >= word.size() || !absl::StrContains(word, '/')) continue;
      if (colon == absl::string_view::npos) continue;
      absl::string_view name = word.substr(colon + 1);
      lanes.emplace(name.substr(0, name.find('.')));
      break;
    }
  }
  return lanes.empty() ? "not connected yet" : absl::StrJoin(lanes, " ");
}

}  // namespace

// One frame under way. The header must stay where it is until UCX is done.
struct UcxPeer::Outgoing {
  std::array<std::byte, kFrameHeaderBytes> header;
  std::span<const std::byte> payload;
  std::function<void(const absl::Status&)> done;
  std::shared_ptr<UcxPeer> peer;
};

absl::Status UcxPeer::Open() {
  // UCX believes the lengths that an address names: give a short or forged one zeros to run into.
  std::string padded = address_;
  padded.resize(kMaxAddressBytes);
  ucp_ep_params_t params = {};
  params.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                      UCP_EP_PARAM_FIELD_ERR_HANDLER;
  params.address = reinterpret_cast<const ucp_address_t*>(padded.data());
  params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
  params.err_handler.cb = &UcxPeer::OnEndpointError;
  params.err_handler.arg = this;
  return FromUcxStatus(ucp_ep_create(core_->worker->get(), &params, &endpoint_),
                       "connecting over UCX");
}

void UcxPeer::Establish(uint64_t source, uint64_t partner_connection, absl::string_view name) {
  partner_connection_ = std::max(partner_connection_, partner_connection);
  if (std::exchange(established_, true)) return;
  source_ = source;
  name_ = std::string(name);
}

ucp_ep_h UcxPeer::TakeEndpoint() { return std::exchange(endpoint_, nullptr); }

void UcxPeer::OnEndpointError(void* arg, ucp_ep_h, ucs_status_t status) {
  auto* peer = static_cast<UcxPeer*>(arg);
  const std::string what = peer->established_
                               ? absl::StrCat("connection to ", peer->name_, " is lost")
                               : "a new endpoint fails";
  peer->Fail(absl::UnavailableError(absl::StrCat(what, ": ", ucs_status_string(status))));
}

void UcxPeer::Fail(const absl::Status& reason) {
  const std::lock_guard lock(core_->mutex);
  if (!status_.ok()) return;
  status_ = reason;
  if (core_->worker == nullptr) return;
  core_->failed.push_back(shared_from_this());
  ucp_worker_signal(core_->worker->get());
}

void UcxPeer::Send(FrameHeader header, std::span<const std::byte> payload,
                   std::function<void(const absl::Status&)> done, bool has_payload_crc) {
  header.source = core_->source;
  header.payload_bytes = payload.size();
  if (!has_payload_crc) header.payload_crc = Crc32c(payload);
  auto outgoing = std::make_unique<Outgoing>();
  outgoing->header = EncodeFrameHeader(header);
  outgoing->payload = payload;
  outgoing->done = std::move(done);
  outgoing->peer = shared_from_this();

  bool pending = false;
  absl::Status result = Post(outgoing.get(), &pending);
  if (pending) {
    outgoing.release();  // OnSent takes it back
    return;
  }
  Call(outgoing->done, result);
}

absl::Status UcxPeer::Post(Outgoing* outgoing, bool* pending) {
  const std::lock_guard lock(core_->mutex);
  if (!status_.ok()) return status_;
  if (endpoint_ == nullptr) return absl::UnavailableError("the transport is closed");
  if (num_pending_ >= kMaxPendingSends) {
    return absl::ResourceExhaustedError(
        absl::StrCat(num_pending_, " frames to ", name_, " are waiting already"));
  }
  ucp_request_param_t param = {};
  param.op_attr_mask =
      UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_MEMORY_TYPE;
  param.cb.send = &UcxPeer::OnSent;
  param.user_data = outgoing;
  param.memory_type = UCS_MEMORY_TYPE_HOST;
  if (outgoing->payload.size() <= kMaxHelloBytes) {
    param.op_attr_mask |= UCP_OP_ATTR_FIELD_FLAGS;
    param.flags = UCP_AM_SEND_FLAG_EAGER;
  }
  const ucs_status_ptr_t request =
      ucp_am_send_nbx(endpoint_, kUcxMessageId, outgoing->header.data(), outgoing->header.size(),
                      outgoing->payload.data(), outgoing->payload.size(), &param);
  if (UCS_PTR_IS_ERR(request)) return FromUcxStatus(UCS_PTR_STATUS(request), "sending over UCX");
  core_->frames_sent.fetch_add(1, std::memory_order_relaxed);
  core_->bytes_sent.fetch_add(outgoing->payload.size(), std::memory_order_relaxed);
  if (request == nullptr) return absl::OkStatus();
  ++num_pending_;
  *pending = true;
  // Whoever sleeps on the worker's events must look at the new request.
  ucp_worker_signal(core_->worker->get());
  return absl::OkStatus();
}

void UcxPeer::OnSent(void* request, ucs_status_t status, void* user_data) {
  const std::unique_ptr<Outgoing> outgoing(static_cast<Outgoing*>(user_data));
  UcxPeer* peer = outgoing->peer.get();
  --peer->num_pending_;
  ucp_request_free(request);
  absl::Status result = FromUcxStatus(status, "sending over UCX");
  if (!result.ok() && peer->failed()) result = peer->status_;
  Call(outgoing->done, result);
}

absl::Status UcxPeer::status() const {
  const std::lock_guard lock(core_->mutex);
  return status_;
}

uint64_t UcxPeer::source() const {
  const std::lock_guard lock(core_->mutex);
  return source_;
}

std::string UcxPeer::DescribeTransport() const {
  const std::lock_guard lock(core_->mutex);
  if (endpoint_ == nullptr) return "closed";
  char* text = nullptr;
  size_t size = 0;
  FILE* stream = open_memstream(&text, &size);
  if (stream == nullptr) return "unknown";
  ucp_ep_print_info(endpoint_, stream);
  std::fclose(stream);
  const std::string lanes = LanesOf({text, size});
  std::free(text);
  return lanes;
}

}  // namespace baton
