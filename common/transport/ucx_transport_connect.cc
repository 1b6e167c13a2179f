// How UcxTransport's connections begin: hellos, their answers, and what becomes of older ones.
#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/checksum/crc32c.h"
#include "common/concurrency/steady_time.h"
#include "common/status/status_macros.h"
#include "common/transport/ucx_transport.h"

namespace baton {
namespace {

// A transport talks with the stages of a group or with the workers of one loader: far fewer.
constexpr size_t kMaxPeers = 1024;
// How often a hello is said until it is answered.
constexpr absl::Duration kHelloInterval = absl::Milliseconds(100);
// How long a connection that stood before may leave a hello unanswered: others may use it, and
// their payloads go first. One that never stood is not given up for silence: the partner would
// have to open one more as well.
constexpr absl::Duration kStandingSilence = absl::Seconds(5);
// Endpoints that may break before their hello is answered: one may have met the partner while it
// closed an older connection, two met nobody. A refused connection breaks its endpoint, too.
constexpr int kMaxBroken = 2;
// Connections that are made up for at a time, if a partner is ahead: each costs an endpoint that is
// opened and closed. Few, so that few sockets do so at once. Who is further ahead says hello again.
constexpr uint64_t kMaxAhead = 8;

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

std::shared_ptr<UcxPeer> UcxTransport::FindByAddress(absl::string_view address) {
  for (const std::shared_ptr<UcxPeer>& peer : peers_) {
    if (!peer->failed() && peer->address() == address) return peer;
  }
  return nullptr;
}

UcxTransport::Numbers UcxTransport::NumbersOf(absl::string_view address) const {
  const auto found = numbers_.find(std::string(address));
  return found == numbers_.end() ? Numbers() : found->second;
}

absl::StatusOr<std::shared_ptr<UcxPeer>> UcxTransport::OpenPeer(absl::string_view address,
                                                                uint64_t number) {
  if (peers_.size() >= kMaxPeers) {
    return absl::ResourceExhaustedError(absl::StrCat("there are ", kMaxPeers, " peers already"));
  }
  uint64_t next = NumbersOf(address).opened + 1;
  while (true) {
    auto peer = std::make_shared<UcxPeer>(core_, std::string(address), next);
    numbers_[std::string(address)].opened = next;  // UCX has counted one that fails, too
    RETURN_IF_ERROR(peer->Open());
    if (next++ >= number) {
      peers_.push_back(peer);
      return peer;
    }
    peer->Fail(absl::UnavailableError("the partner has given its end up"));
  }
}

absl::StatusOr<std::shared_ptr<Peer>> UcxTransport::Connect(absl::string_view address,
                                                            absl::Time deadline) {
  if (address.size() < kMinAddressBytes || address.size() > kMaxAddressBytes) {
    return absl::InvalidArgumentError(absl::StrCat("a UCX address has ", kMinAddressBytes, "..",
                                                   kMaxAddressBytes, " bytes, not ",
                                                   address.size()));
  }
  std::unique_lock lock(core_->mutex);
  const uint64_t call = next_call_++;
  int num_broken = 0;
  while (true) {
    std::shared_ptr<UcxPeer> peer = FindByAddress(address);
    if (peer == nullptr) {
      ASSIGN_OR_RETURN(peer, OpenPeer(address, NumbersOf(address).answered));
    }
    const absl::Time limit =
        peer->established() ? std::min(deadline, SteadyNow() + kStandingSilence) : deadline;
    if (AwaitAnswer(lock, peer, call, limit)) return peer;
    const bool was_silent = !peer->failed();
    const bool is_over = SteadyNow() >= deadline;
    if (was_silent) {
      const absl::Status silent = absl::DeadlineExceededError("no answer to the hello over UCX");
      // Too little time says nothing of a connection that others may use.
      if (is_over && peer->established()) return silent;
      peer->Fail(silent);
    }
    if (is_over) return peer->status();
    // One that was established has met the partner.
    if (!was_silent && !peer->established() && ++num_broken == kMaxBroken) {
      return absl::UnavailableError(
          absl::StrCat("no connection comes about: ", peer->status().message()));
    }
  }
}

bool UcxTransport::AwaitAnswer(std::unique_lock<std::recursive_mutex>& lock,
                               const std::shared_ptr<UcxPeer>& peer, uint64_t call,
                               absl::Time limit) {
  const auto settled = [&] { return peer->answered_call() >= call || peer->failed(); };
  while (!settled()) {
    SendHello(peer, call);
    const absl::Time next = std::min(limit, SteadyNow() + kHelloInterval);
    if (changed_.wait_until(lock, ToSteadyClock(next), settled)) break;
    if (next == limit) return false;
  }
  return !peer->failed();
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

void UcxTransport::SendHello(const std::shared_ptr<UcxPeer>& peer, uint64_t call) {
  SendOwned(peer, {.kind = FrameKind::kHello, .epoch = call, .stream_id = peer->connection()},
            EncodeHello(address_, core_->name));
}

bool UcxTransport::IsOlder(const FrameHeader& header, const std::shared_ptr<UcxPeer>& peer) {
  return peer != nullptr && peer->established() && header.stream_id < peer->partner_connection();
}

void UcxTransport::GiveUp(const std::shared_ptr<UcxPeer>& peer, const FrameHeader& header,
                          absl::string_view name) {
  // It has met the partner, if it had not before.
  peer->Establish(header.source, header.stream_id, name.substr(0, kMaxNameBytes));
  peer->Fail(absl::UnavailableError(absl::StrCat(peer->name(), " connects anew")));
  Forget(peer);
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
  if (IsOlder(header, peer)) {
    return Refuse(absl::FailedPreconditionError(
        absl::StrCat("hello of ", hello->name, " from a connection that it has given up")));
  }
  if (const uint64_t most = NumbersOf(hello->address).opened + kMaxAhead; header.stream_id > most) {
    if (peer == nullptr) {
      const auto nearer = OpenPeer(hello->address, most);
      if (nearer.ok()) (*nearer)->Fail(absl::UnavailableError("the partner is further ahead"));
    }
    return Refuse(absl::FailedPreconditionError(
        absl::StrCat("hello of ", hello->name, " from a connection that is far ahead")));
  }
  if (peer != nullptr && header.stream_id > peer->connection()) {
    GiveUp(peer, header, hello->name);
    peer = nullptr;
  }
  if (peer == nullptr) {
    absl::StatusOr<std::shared_ptr<UcxPeer>> opened = OpenPeer(hello->address, header.stream_id);
    if (!opened.ok()) return Refuse(opened.status());
    peer = *std::move(opened);
  }
  // If our number is the larger one, the answer says so, and Connect over there opens as many.
  Establish(peer, header, hello->name);
  SendOwned(peer,
            {.kind = FrameKind::kHelloAnswer,
             .epoch = header.epoch,
             .stream_id = peer->connection(),
             .sequence = header.stream_id},
            EncodeHello(address_, core_->name));
}

void UcxTransport::OnHelloAnswer(const FrameHeader& header, std::span<const std::byte> payload) {
  const absl::StatusOr<Hello> hello = ParseHello(payload);
  if (!hello.ok()) return Refuse(hello.status());
  const std::shared_ptr<UcxPeer> peer = FindByAddress(hello->address);
  if (peer == nullptr || peer->connection() != header.sequence) {
    return Refuse(absl::NotFoundError(
        absl::StrCat("answer of ", hello->name, " to a hello that nobody waits for")));
  }
  if (IsTaken(header.source, peer)) {
    return Refuse(absl::AlreadyExistsError(
        absl::StrCat("answer of ", hello->name, " under a source that another peer has")));
  }
  if (header.stream_id < peer->connection()) {
    return Refuse(absl::FailedPreconditionError(
        absl::StrCat("answer of ", hello->name, " over another connection than the hello's")));
  }
  // The partner had lost its end, and has opened another to answer: Connect says hello anew, over
  // a connection of the same number.
  if (header.stream_id > peer->connection()) {
    numbers_[peer->address()].answered = std::min(header.stream_id, peer->connection() + kMaxAhead);
    return GiveUp(peer, header, hello->name);
  }
  peer->TakeAnswer(header.epoch);
  Establish(peer, header, hello->name);
}

void UcxTransport::OnGoodbye(const FrameHeader& header) {
  const auto found = peers_by_source_.find(header.source);
  if (found == peers_by_source_.end()) return;
  found->second->Fail(
      absl::UnavailableError(absl::StrCat(found->second->name(), " has closed its connection")));
}

void UcxTransport::Establish(const std::shared_ptr<UcxPeer>& peer, const FrameHeader& header,
                             absl::string_view name) {
  peer->Establish(header.source, header.stream_id, name.substr(0, kMaxNameBytes));
  const std::shared_ptr<UcxPeer> former = peers_by_source_[peer->source()];
  // It has failed, else the source were taken. Its loss is told before the new one's first frame.
  if (former != nullptr && former != peer) Forget(former);
  peers_by_source_[peer->source()] = peer;
  changed_.notify_all();
}

}  // namespace baton
