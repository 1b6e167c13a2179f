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

struct TransferProgress {
  uint64_t received_bytes = 0;
  uint64_t total_bytes = 0;
};

// Refused, and answered with the reason: chunks of an unknown transfer (NotFound); of an unknown
// slice, outside their slice or over the chunk limit (InvalidArgument); over bytes that are there
// or on their way already (AlreadyExists); with a wrong checksum (DataLoss: the transfer fails).
// Threads: any.
class ChunkReceiver {
 public:
  // Becomes `transport`'s receiver of weight chunks. `transport` must outlive this object.
  static absl::StatusOr<std::unique_ptr<ChunkReceiver>> Create(Transport* transport);
  virtual ~ChunkReceiver() = default;

  // Registers a transfer: slice i goes to slices[i]. The memory must stay valid until EndTransfer.
  // Errors: AlreadyExists, InvalidArgument (no slice, or chunk limit 0).
  virtual absl::Status BeginTransfer(uint64_t transfer_id, std::vector<std::span<std::byte>> slices,
                                     size_t max_chunk_bytes) = 0;

  // Waits until every byte of every slice is there. Errors: DeadlineExceeded, NotFound, what the
  // transfer failed with (DataLoss, Unavailable if its sender vanished, or FailTransfer's reason).
  virtual absl::Status WaitComplete(uint64_t transfer_id, absl::Time deadline) = 0;

  // Ends the transfer with an error and wakes WaitComplete.
  virtual void FailTransfer(uint64_t transfer_id, const absl::Status& reason) = 0;

  virtual absl::StatusOr<TransferProgress> progress(uint64_t transfer_id) const = 0;

  // Forgets the transfer; returns when nothing writes to its slices any more. OK for unknown ones.
  virtual void EndTransfer(uint64_t transfer_id) = 0;
};

}  // namespace baton
