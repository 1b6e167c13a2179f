// Writes a device's packed weights to a file.
#pragma once

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "services/stage_worker/packed_weights/packed_folder.h"
#include "services/stage_worker/packed_weights/packed_key.h"
#include "services/stage_worker/weights/weight_store.h"

namespace baton::stage {

struct PackedWriteOptions {
  PackedKey key;           // of the store
  uint64_t max_bytes = 0;  // as RoomLimits of packed_room.h
  // Asked before each block of some MiB, and before waits for the disk; false ends the writing with
  // Cancelled.
  std::function<bool()> goes_on = [] { return true; };
};

// Writes the weights of a finished store under the key's name: to a temporary file that takes the
// name when all of it is on the disk, so that a reader sees a whole file or none. Then removes the
// files of the same stage that it replaces and that nobody uses. What fails leaves nothing. Returns
// the file's bytes. Errors: ResourceExhausted (the bound, the disk, or the greatest size of a file
// is reached), Unavailable (the disk), AlreadyExists (the file is there, or another worker writes
// it now), Cancelled, Internal (WeightStore::ExportPlaced).
absl::StatusOr<uint64_t> WritePacked(const PackedFolder& folder, const WeightStore& store,
                                     const PackedWriteOptions& options);

}  // namespace baton::stage
