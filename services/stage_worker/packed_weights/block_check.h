// Checks files of packed weights whole, before anybody uses them.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"

#include "services/stage_worker/packed_weights/packed_file.h"

namespace baton::stage {

struct BlockCheckOptions {
  int num_threads = 1;
  // Asked before each block, from any thread; false ends the check.
  std::function<bool()> goes_on = [] { return true; };
  // A block of the file of this index is what was written. From any thread.
  std::function<void(size_t file, size_t block)> on_good = [](size_t, size_t) {};
};

// Checks all blocks of all files, in their order, and returns when none is looked at any more. By
// file (null ones are OK): OK; DataLoss naming file and block, after which the rest of the file may
// be left; Cancelled if it was not checked whole because goes_on said no.
std::vector<absl::Status> CheckAllBlocks(std::span<const std::shared_ptr<PackedFile>> files,
                                         const BlockCheckOptions& options);

}  // namespace baton::stage
