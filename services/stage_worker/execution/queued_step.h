// A step on its way to the devices, and the epoch that it belongs to.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"

#include "services/stage_worker/execution/hidden_states.h"
#include "services/stage_worker/execution/token_channel.h"
#include "services/stage_worker/execution/token_feedback.h"
#include "services/stage_worker/execution/token_reader.h"
#include "services/stage_worker/kv_cache/step_batch.h"

namespace baton::stage {

// Shared by the control thread and the device threads.
struct EpochState {
  explicit EpochState(size_t num_kept_steps) : feedback(num_kept_steps) {}

  // Its steps are not started any more, and their waits for tokens end with `reason`.
  void End(const absl::Status& reason) {
    ended = true;
    feedback.Abort(reason);
  }

  uint64_t epoch = 0;
  HiddenStateSource* source = nullptr;
  HiddenStateSink* sink = nullptr;
  TokenFeedback feedback;
  std::unique_ptr<TokenReader> token_reader;  // first of several stages; rank 0's device alone
  TokenSink* token_sink = nullptr;            // last of several stages
  std::atomic<bool> ended{false};
  std::atomic<bool> broken{false};  // a device has said so to the observer
};

struct QueuedStep {
  std::unique_ptr<const StepBatch> batch;
  std::shared_ptr<EpochState> epoch;
  std::chrono::steady_clock::time_point submitted;
  bool work_waited = false;  // see StepWork
};

}  // namespace baton::stage
