// The receiving half of UcxTransport: frames in, hellos, refusals.
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

constexpr size_t kMaxHelloBytes = kMaxAddressBytes + 256;

// A hello's payload: length of the address (u16), address, name.
std::string EncodeHello(absl::string_view address, absl::string_view name) {
  const auto length = static_cast<uint16_t>(address.size());
  std::string out(reinterpret_cast<const char*>(&length), sizeof(length));
  absl::StrAppend(&out, address, name);
  return out;
}

struct Hello {
  absl::string_view address;
  absl::string_view name;
};

absl::StatusOr<Hello> ParseHello(std::span<const std::byte> payload) {
  uint16_t length = 0;
  const absl::string_view text(reinterpret_cast<const char*>(payload.data()), payload.size());
  if (text.size() < sizeof(length)) return absl::InvalidArgumentError("hello without an address");
  std::memcpy(&length, text.data(), sizeof(length));
  const absl::string_view rest = text.substr(sizeof(length));
  if (length < kMinAddressBytes || length > kMaxAddressBytes || length > rest.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("hello with an address of ", length, " bytes in ", text.size()));
  }
  return Hello{.address = rest.substr(0, length), .name = rest.substr(length)};
}

// Sends a payload that the frame itself keeps alive.
void SendOwned(const std::shared_ptr<UcxPeer>& peer, FrameHeader header, std::string payload) {
  auto owned = std::make_shared<std::string>(std::move(payload));
  const auto bytes = std::as_bytes(std::span(owned->data(), owned->size()));
  header.total_bytes = bytes.size();
  peer->Send(
      header, bytes,
      [owned, peer](const absl::Status& status) {
        if (!status.ok()) peer->Fail(status);
      },
      /*has_payload_crc=*/false);
}

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
  core_->frames_received.fetch_add(1, std::memory_order_relaxed);
  core_->bytes_received.fetch_add(message.length, std::memory_order_relaxed);
  if (header->kind == FrameKind::kHello || header->kind == FrameKind::kHelloAnswer) {
    return TakeHello(*header, message);
  }
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

ucs_status_t UcxTransport::TakeHello(const FrameHeader& header, const Message& message) {
  const std::span payload(static_cast<const std::byte*>(message.data), message.length);
  if (message.is_rendezvous || message.length > kMaxHelloBytes ||
      Crc32c(payload) != header.payload_crc) {
    Refuse(absl::DataLossError(absl::StrCat("broken ", Describe(header))));
  } else if (header.kind == FrameKind::kHello) {
    OnHello(header, payload);
  } else {
    OnHelloAnswer(header, payload);
  }
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

void UcxTransport::Refuse(const absl::Status& reason) {
  const uint64_t count = core_->frames_refused.fetch_add(1) + 1;
  if (IsPowerOfTwo(count)) BATON_LOG(WARNING) << "refused frame " << count << ": " << reason;
}

void UcxTransport::SendHello(const std::shared_ptr<UcxPeer>& peer) {
  SendOwned(peer, {.kind = FrameKind::kHello}, EncodeHello(address_, core_->name));
}

bool UcxTransport::IsTaken(uint64_t source, const std::shared_ptr<UcxPeer>& peer) const {
  if (peer != nullptr && peer->established()) return peer->source() != source;
  const auto found = peers_by_source_.find(source);
  return found != peers_by_source_.end() && found->second != peer && !found->second->failed();
}

void UcxTransport::OnHello(const FrameHeader& header, std::span<const std::byte> payload) {
  const absl::StatusOr<Hello> hello = ParseHello(payload);
  if (!hello.ok()) return Refuse(hello.status());
  std::shared_ptr<UcxPeer> peer = FindByAddress(hello->address);
  if (IsTaken(header.source, peer)) {
    return Refuse(absl::AlreadyExistsError(
        absl::StrCat("hello of ", hello->name, " under a source that another peer has")));
  }
  if (peer == nullptr) {
    absl::StatusOr<std::shared_ptr<UcxPeer>> opened = OpenPeer(hello->address);
    if (!opened.ok()) return Refuse(opened.status());
    peer = *std::move(opened);
  }
  Establish(peer, header.source, hello->name);
  SendOwned(peer, {.kind = FrameKind::kHelloAnswer}, EncodeHello(address_, core_->name));
}

void UcxTransport::OnHelloAnswer(const FrameHeader& header, std::span<const std::byte> payload) {
  const absl::StatusOr<Hello> hello = ParseHello(payload);
  if (!hello.ok()) return Refuse(hello.status());
  const std::shared_ptr<UcxPeer> peer = FindByAddress(hello->address);
  if (peer == nullptr) return Refuse(absl::NotFoundError("answer to a hello that nobody sent"));
  if (IsTaken(header.source, peer)) {
    return Refuse(absl::AlreadyExistsError(
        absl::StrCat("answer of ", hello->name, " under a source that another peer has")));
  }
  Establish(peer, header.source, hello->name);
}

void UcxTransport::OnGoodbye(const FrameHeader& header) {
  const auto found = peers_by_source_.find(header.source);
  if (found == peers_by_source_.end()) return;
  found->second->Fail(
      absl::UnavailableError(absl::StrCat(found->second->name(), " has closed its connection")));
}

void UcxTransport::Establish(const std::shared_ptr<UcxPeer>& peer, uint64_t source,
                             absl::string_view name) {
  if (!peer->established()) peer->Establish(source, std::string(name.substr(0, kMaxNameBytes)));
  peers_by_source_[peer->source()] = peer;
  changed_.notify_all();
}

}  // namespace baton
