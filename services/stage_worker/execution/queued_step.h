// A step on its way to the devices, and the epoch that it belongs to.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>

#include "services/stage_worker/execution/hidden_states.h"
#include "services/stage_worker/kv_cache/step_batch.h"

namespace baton::stage {

// Shared by the control thread and the device threads.
struct EpochState {
  uint64_t epoch = 0;
  HiddenStateSource* source = nullptr;
  HiddenStateSink* sink = nullptr;
  std::atomic<bool> ended{false};   // its steps are not started any more
  std::atomic<bool> broken{false};  // a device has said so to the observer
};

struct QueuedStep {
  std::unique_ptr<const StepBatch> batch;
  std::shared_ptr<EpochState> epoch;
  std::chrono::steady_clock::time_point submitted;
};

}  // namespace baton::stage
