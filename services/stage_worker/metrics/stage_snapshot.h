// What a stage holds at one moment, for status, metrics and heartbeats.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"

#include "common/transport/transport.h"
#include "services/stage_worker/execution/neighbour_waits.h"
#include "services/stage_worker/packed_weights/packed_counts.h"

namespace baton::stage {

struct StageSnapshot {
  uint32_t stage_index = 0;
  uint32_t num_stages = 0;
  uint32_t layer_begin = 0;
  uint32_t layer_end = 0;
  uint32_t num_ranks = 0;
  bool joined = false;  // in the epoch below, taking steps
  uint64_t epoch = 0;   // 0: none yet
  uint64_t last_step_id = 0;
  uint32_t num_sequences = 0;
  uint32_t num_used_blocks = 0;
  uint32_t num_total_blocks = 0;
  uint64_t num_graphs = 0;          // of steps, that each device has
  uint64_t num_refused_graphs = 0;  // for which a device had no memory
  uint64_t weight_bytes = 0;        // resident
  uint64_t kv_bytes = 0;
  uint64_t constraint_bytes = 0;  // of structured output
  std::string backend;
  uint64_t loaded_bytes = 0;      // of the checkpoint
  uint64_t load_total_bytes = 0;  // 0: no plan yet
  PackedCacheCounts packed;
  TransportCounters transport;
  absl::Time last_look;               // of the transport's thread, before `wait` was seen
  std::optional<NeighbourWait> wait;  // `since` is not before the last frames of that kind
};

}  // namespace baton::stage
