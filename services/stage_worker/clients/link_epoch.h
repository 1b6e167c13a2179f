// What a stage's links to its neighbours are told of an epoch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace baton::stage {

struct LinkEpoch {
  uint64_t local_epoch = 0;  // the executor's: never repeats in this process
  uint64_t frame_epoch = 0;  // the scheduler's, which frames carry
  // UCX addresses of the next stage, by rank; empty on the last stage.
  std::vector<std::string> next_addresses;
  // UCX address of the first stage's rank 0, where the last stage sends tokens; else empty.
  std::string first_address;
};

}  // namespace baton::stage
