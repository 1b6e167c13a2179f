// The sending side of a weight transfer: chunks out, answers in, memory bounded.
//
// A receiver that can is let copy chunks of kMinLentBytes or more from this process's memory
// (lent_memory.h), whatever UCX's transports are. The first long chunk of a transfer tries that; if
// the receiver cannot, it goes over UCX as all others do then.
#pragma once

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

#include "common/transport/transport.h"

namespace baton {

struct ChunkSenderOptions {
  // Both bound what is under way; a chunk longer than the first bound goes alone.
  size_t max_in_flight_bytes = size_t{64} << 20;
  size_t max_in_flight_chunks = 64;
  // Long chunks are lent. The first one that any sender lends calls AllowCopies.
  bool lends = true;
  absl::Duration memory_return_limit = kMemoryReturnLimit;
};

// One transfer to one receiver. Threads: any; SendChunk from several threads at once is fine.
class ChunkSender {
 public:
  // Called exactly once per accepted chunk, on the transport's thread: the receiver took the chunk
  // and its checksum was right, or why not. The chunk's memory is free again.
  using Done = std::function<void(const absl::Status&)>;

  // Connects to the receiver's UCX address. `transport` must outlive this object; it must have no
  // other receiver for kChunkAnswer than ChunkSenders. Errors: as Transport::Connect.
  static absl::StatusOr<std::unique_ptr<ChunkSender>> Create(Transport* transport,
                                                             absl::string_view address,
                                                             uint64_t transfer_id,
                                                             absl::Time deadline,
                                                             ChunkSenderOptions options = {});
  // Breaks what is under way; every `done` has been called when it returns, or the process ends
  // (memory_return_limit).
  virtual ~ChunkSender() = default;

  // Waits until there is room, then starts sending bytes [offset, offset + payload.size()) of slice
  // `slice_index`. `payload` must stay valid until `done`. Errors (`done` is then not called):
  // DeadlineExceeded (no room by `deadline`), and the first error of this transfer, after which
  // every call fails: Unavailable (receiver gone), what the receiver refused with.
  virtual absl::Status SendChunk(uint32_t slice_index, uint64_t offset,
                                 std::span<const std::byte> payload, absl::Time deadline,
                                 Done done) = 0;

  // Waits until every chunk has been answered. Errors: DeadlineExceeded, or the transfer's first
  // error.
  virtual absl::Status Finish(absl::Time deadline) = 0;

  // Ends the transfer with `reason` unless it has failed already; wakes all waits.
  virtual void Cancel(const absl::Status& reason) = 0;

  // Bytes that the receiver has taken.
  virtual uint64_t taken_bytes() const = 0;
  // As Peer::DescribeTransport; "lent memory, tcp/lo" once the receiver has copied from ours.
  virtual std::string DescribeTransport() const = 0;
};

}  // namespace baton
