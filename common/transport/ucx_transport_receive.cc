// The receiving half of UcxTransport: frames in, refusals.
#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/checksum/crc32c.h"
#include "common/log/log.h"
#include "common/status/status_macros.h"
#include "common/transport/ucx_transport.h"

namespace baton {
namespace {

// Refused frames are counted always, and logged at the 1st, 2nd, 4th, 8th ... so that a broken peer
// does not fill the log.
bool IsPowerOfTwo(uint64_t value) { return (value & (value - 1)) == 0; }

}  // namespace

ucs_status_t UcxTransport::OnMessage(void* arg, const void* header, size_t header_length,
                                     void* data, size_t length, const ucp_am_recv_param_t* param) {
  const Message message = {
      .header = {static_cast<const std::byte*>(header), header_length},
      .data = data,
      .length = length,
      .is_rendezvous = (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) != 0,
  };
  return static_cast<UcxTransport*>(arg)->Receive(message);
}

ucs_status_t UcxTransport::Receive(const Message& message) {
  const absl::StatusOr<FrameHeader> header = ParseFrameHeader(message.header);
  if (!header.ok()) {
    Refuse(header.status());
    return UCS_OK;
  }
  if (header->payload_bytes != message.length) {
    Refuse(absl::InvalidArgumentError(
        absl::StrCat(Describe(*header), " came with ", message.length, " bytes")));
    return UCS_OK;
  }
  if (options_.lose && options_.lose(*header)) return UCS_OK;
  if (header->kind == FrameKind::kHello || header->kind == FrameKind::kHelloAnswer) {
    return TakeHello(*header, message);
  }
  core_->frames_received.fetch_add(1, std::memory_order_relaxed);
  core_->bytes_received.fetch_add(message.length, std::memory_order_relaxed);
  if (header->kind == FrameKind::kGoodbye) {
    OnGoodbye(*header);
    return UCS_OK;
  }
  if (!peers_by_source_.contains(header->source)) {
    Refuse(absl::PermissionDeniedError(
        absl::StrCat(Describe(*header), " comes from a source without a connection")));
    return UCS_OK;
  }
  FrameReceiver* receiver = FindReceiver(*header);
  if (receiver == nullptr) {
    Refuse(absl::FailedPreconditionError(absl::StrCat("nobody takes ", Describe(*header))));
    return UCS_OK;
  }
  absl::StatusOr<std::span<std::byte>> destination = receiver->Accept(*header);
  if (!destination.ok()) {
    Refuse(Annotate(destination.status(), Describe(*header)));
    return UCS_OK;
  }
  if (destination->size() != message.length) {
    Deliver(receiver, *header,
            absl::InternalError("the slot named has another size than the payload"));
    return UCS_OK;
  }
  if (message.is_rendezvous) return TakeRendezvous(receiver, *header, message, *destination);
  const std::span payload(static_cast<const std::byte*>(message.data), message.length);
  const uint32_t crc = CopyWithCrc32c(destination->data(), payload);
  Deliver(receiver, *header,
          crc == header->payload_crc ? absl::OkStatus()
                                     : absl::DataLossError("payload checksum is wrong"));
  return UCS_OK;
}

ucs_status_t UcxTransport::TakeRendezvous(FrameReceiver* receiver, const FrameHeader& header,
                                          const Message& message,
                                          std::span<std::byte> destination) {
  auto* landing = new Landing{
      .transport = this, .receiver = receiver, .header = header, .destination = destination};
  landings_.push_back(landing);
  ucp_request_param_t param = {};
  param.op_attr_mask =
      UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_MEMORY_TYPE;
  param.cb.recv_am = &UcxTransport::OnLanded;
  param.user_data = landing;
  param.memory_type = UCS_MEMORY_TYPE_HOST;
  const ucs_status_ptr_t request = ucp_am_recv_data_nbx(
      core_->worker->get(), message.data, destination.data(), destination.size(), &param);
  if (!UCS_PTR_IS_PTR(request)) FinishLanding(landing, UCS_PTR_STATUS(request));
  return UCS_INPROGRESS;
}

void UcxTransport::OnLanded(void* request, ucs_status_t status, size_t, void* user_data) {
  auto* landing = static_cast<Landing*>(user_data);
  ucp_request_free(request);
  landing->transport->FinishLanding(landing, status);
}

void UcxTransport::FinishLanding(Landing* landing, ucs_status_t ucx_status) {
  const std::unique_ptr<Landing> owned(landing);
  absl::Status status = FromUcxStatus(ucx_status, "fetching a payload over UCX");
  if (status.ok() && Crc32c(landing->destination) != landing->header.payload_crc) {
    status = absl::DataLossError("payload checksum is wrong");
  }
  Deliver(landing->receiver, landing->header, status);
  std::erase(landings_, landing);
  changed_.notify_all();
}

void UcxTransport::Deliver(FrameReceiver* receiver, const FrameHeader& header,
                           const absl::Status& status) {
  if (!status.ok()) Refuse(Annotate(status, Describe(header)));
  if (receiver != nullptr) receiver->Complete(header, status);
}

void UcxTransport::CountCopied(uint64_t bytes) {
  core_->bytes_received.fetch_add(bytes, std::memory_order_relaxed);
}

void UcxTransport::Refuse(const absl::Status& reason) {
  const uint64_t count = core_->frames_refused.fetch_add(1) + 1;
  if (IsPowerOfTwo(count)) BATON_LOG(WARNING) << "refused frame " << count << ": " << reason;
}

}  // namespace baton
