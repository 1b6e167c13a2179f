// The receiving side of weight transfers: chunks land in slices that were registered before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/transport/transport.h"

namespace baton {

// Owns the memory of a transfer's slices. Calls come from the transport's thread and must not wait.
class SliceSink {
 public:
  virtual ~SliceSink() = default;

  // The memory of a slice, as long as TransferOptions::slice_bytes says; asked for once, when its
  // first chunk comes. Stays valid until SliceArrived, or EndTransfer. An error ends the transfer.
  virtual absl::StatusOr<std::span<std::byte>> Destination(size_t slice_index) = 0;

  // Every byte of the slice is in place and its checksums were right. The answer to its last chunk,
  // and with it the sender's room for another one, waits for ChunkReceiver::ReleaseSlice: a sink
  // that is slower than the sender bounds the memory in use that way.
  virtual void SliceArrived(size_t slice_index) = 0;
};

struct TransferOptions {
  uint64_t transfer_id = 0;
  std::vector<uint64_t> slice_bytes;  // at least one slice, each of at least one byte
  size_t max_chunk_bytes = 0;
  SliceSink* sink = nullptr;  // must outlive the transfer
};

struct TransferProgress {
  uint64_t received_bytes = 0;
  uint64_t total_bytes = 0;
};

struct ChunkReceiverOptions {
  absl::Duration memory_return_limit = kMemoryReturnLimit;
  // For tests: a sender in this process may lend its memory (lent_memory.h).
  bool copies_own_memory = false;
};

// Refused, and answered with the reason: chunks of an unknown transfer (NotFound); of an unknown
// slice, outside their slice or over the chunk limit, lent ones of less than kMinLentBytes
// (InvalidArgument); over bytes that are there or on their way already (AlreadyExists); with a
// wrong checksum (DataLoss: the transfer fails), or lent by another process than those before
// (InvalidArgument: the transfer fails). Lent ones that cannot be copied are answered with
// Unimplemented and may come as bytes. Threads: any.
class ChunkReceiver {
 public:
  // Becomes `transport`'s receiver of weight chunks. `transport` must outlive this object.
  static std::unique_ptr<ChunkReceiver> Create(Transport* transport,
                                               const ChunkReceiverOptions& options = {});
  virtual ~ChunkReceiver() = default;

  // Errors: AlreadyExists, InvalidArgument (options).
  virtual absl::Status BeginTransfer(TransferOptions options) = 0;

  // The sink is done with an arrived slice's memory.
  virtual void ReleaseSlice(uint64_t transfer_id, size_t slice_index) = 0;

  // Waits until every slice has arrived. Errors: DeadlineExceeded, NotFound, what the transfer
  // failed with: DataLoss, Unavailable (its sender vanished), or FailTransfer's reason.
  virtual absl::Status WaitComplete(uint64_t transfer_id, absl::Time deadline) = 0;

  // Ends the transfer with an error and wakes WaitComplete; later chunks are refused with it.
  virtual void FailTransfer(uint64_t transfer_id, const absl::Status& reason) = 0;

  virtual absl::StatusOr<TransferProgress> progress(uint64_t transfer_id) const = 0;

  // Forgets the transfer; returns when nothing writes to its slices any more and the sink is not
  // called again. A sender that stopped half-way through a chunk is cut off after a second; the
  // process ends if UCX does not let go of the memory then. OK for unknown ones.
  virtual void EndTransfer(uint64_t transfer_id) = 0;
};

}  // namespace baton
