// Messages between processes over UCX: one worker, one thread that drives it.
//
//   ASSIGN_OR_RETURN(auto transport, Transport::Create({.name = "stage-0"}));
//   transport->SetReceiver(FrameKind::kHiddenState, &slots);
//   ASSIGN_OR_RETURN(std::shared_ptr<Peer> peer, transport->Connect(address, deadline));
//   peer->Send(header, payload, [](const absl::Status& status) { ... });
//
// The receiving side owns all memory: for each frame its FrameReceiver names the destination, or
// refuses. Long payloads are fetched straight into that destination (rendezvous: shared memory, CMA
// or RDMA where there is one); short ones are copied. Checksums are verified before completion is
// told. Frames of a source that has not said hello are refused. UCX keeps accepting sends to a
// partner that is frozen or cut off, so senders live on credits or answers with deadlines; UCX's
// own error is only the fast path.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

#include "common/transport/frame.h"

namespace baton {

// Shortest and longest UCX worker address that is taken from or given to anyone. The worker's id
// and one device do not fit into less.
inline constexpr size_t kMinAddressBytes = 16;
inline constexpr size_t kMaxAddressBytes = 4096;

// How long UCX may keep memory that it was lent after the connection was broken. It lets go within
// milliseconds; memory that it never gives back can neither be used nor freed, so the process ends
// then, and its supervisor starts another.
inline constexpr absl::Duration kMemoryReturnLimit = absl::Seconds(10);

// Sets what UCX reads from the environment alone, where the user has not. Transport::Create does it
// too; programs call it first in main, because setting the environment while another thread reads
// it is not safe.
void PrepareTransportEnvironment();

// Takes the frames of one kind. Calls come from the transport's thread, one at a time; they must
// not wait. They may call Peer::Send.
class FrameReceiver {
 public:
  virtual ~FrameReceiver() = default;

  // Names where the payload goes: exactly header.payload_bytes, which this object has checked
  // against memory that it owns and that stays valid until Complete. An error refuses the frame: it
  // is counted, logged and dropped, Complete is not called.
  virtual absl::StatusOr<std::span<std::byte>> Accept(const FrameHeader& header) = 0;

  // The payload is in place and its checksum is right; or DataLoss (checksum), Unavailable (the
  // sender vanished half-way): then the destination holds rubbish.
  virtual void Complete(const FrameHeader& header, const absl::Status& status) = 0;

  // The peer with this `source` is gone: no further frame of it will come.
  virtual void PeerLost(uint64_t source) {}
};

struct TransportOptions {
  std::string name;  // who this is, told to peers and in logs: "stage-worker-1"; at most 64 bytes
  // UCX_TLS: "tcp"; "sm" (shared memory, with CMA where allowed); empty: what the environment says,
  // else all.
  std::string transports;
  // UCX_NET_DEVICES: "lo", "mlx5_0:1"; empty: what the environment says, else all.
  std::string net_devices;
  // After traffic the thread polls for this long before it sleeps. Zero where cores are shared.
  absl::Duration spin = absl::ZeroDuration();
  // For tests: frames of which it says true are lost on their way in. On the transport's thread.
  std::function<bool(const FrameHeader&)> lose;
};

// What a transport has done since it began. Hellos are not counted as received: they repeat.
struct TransportCounters {
  uint64_t frames_sent = 0;
  uint64_t bytes_sent = 0;  // payload
  uint64_t frames_received = 0;
  uint64_t bytes_received = 0;  // payload, and what CountCopied says
  uint64_t frames_refused = 0;  // bad header or checksum, no receiver, refused by the receiver
};

// The other end of a connection. Any thread.
class Peer {
 public:
  virtual ~Peer() = default;

  // Sends header and payload. `payload` must stay valid until `done`, which is called exactly once,
  // on this thread before Send returns or later on the transport's thread: OK when UCX needs the
  // memory no more (the partner may still refuse the frame), Unavailable when the connection is
  // gone. payload_crc is computed here unless `has_payload_crc`.
  virtual void Send(FrameHeader header, std::span<const std::byte> payload,
                    std::function<void(const absl::Status&)> done,
                    bool has_payload_crc = false) = 0;

  // Breaks the connection: sends that are under way end with Unavailable soon after, and every
  // later one fails. `reason` goes to status().
  virtual void Fail(const absl::Status& reason) = 0;

  // OK while the connection stands.
  virtual absl::Status status() const = 0;
  // The partner's transport, as in FrameHeader::source.
  virtual uint64_t source() const = 0;
  // The partner's TransportOptions::name.
  virtual const std::string& name() const = 0;
  // What UCX chose, for logs: "tcp/lo", "posix/memory cma/memory".
  virtual std::string DescribeTransport() const = 0;
};

class Transport {
 public:
  // Errors: InvalidArgument (options), FailedPrecondition naming the transports if UCX has none.
  static absl::StatusOr<std::unique_ptr<Transport>> Create(TransportOptions options);
  // Breaks all connections and joins the thread. No receiver is called after it.
  virtual ~Transport() = default;

  // Where others can reach this transport; opaque, at most kMaxAddressBytes.
  virtual const std::string& address() const = 0;
  // This instance, as in FrameHeader::source; random.
  virtual uint64_t source() const = 0;

  // Who takes frames of `kind`; nullptr: nobody any more. Returns when no call to the former one is
  // under way and none will come; payloads that it had accepted have ended, if need be by cutting
  // off a sender that stopped half-way (kMemoryReturnLimit). Not from the transport's thread.
  virtual void SetReceiver(FrameKind kind, FrameReceiver* receiver) = 0;
  // The same for frames of `kind` with this stream_id alone; they go before SetReceiver's.
  virtual void SetStreamReceiver(FrameKind kind, uint64_t stream_id, FrameReceiver* receiver) = 0;

  // Connects and exchanges hellos, each time: the same address twice gives the same peer while it
  // stands at both ends, and a fresh one where the partner has lost it. The hello is repeated until
  // it is answered; a standing connection that does not answer is given up. Errors: InvalidArgument
  // (address), DeadlineExceeded, Unavailable, FailedPrecondition (other frame version). Not from
  // the transport's thread.
  virtual absl::StatusOr<std::shared_ptr<Peer>> Connect(absl::string_view address,
                                                        absl::Time deadline) = 0;

  // The connected peer with this `source`, for answers; nullptr if there is none.
  virtual std::shared_ptr<Peer> FindPeer(uint64_t source) = 0;

  virtual TransportCounters counters() const = 0;

  // For receivers of frames that say where bytes are to be copied from. The first counts bytes that
  // were; the second counts and logs a frame that had been accepted, as refused. Any thread.
  virtual void CountCopied(uint64_t bytes) = 0;
  virtual void Refuse(const absl::Status& reason) = 0;

  // When the transport's thread last had nothing left to do: all that had come by then was taken
  // in, and what could be sent was. A sleeping thread does not look; AskToLook wakes it. Any
  // thread.
  virtual absl::Time last_look() const = 0;
  virtual void AskToLook() = 0;
};

}  // namespace baton
