// What one stage says of one step: the plain form of StepReport in protos/baton/v1/stage.proto.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"

#include "services/stage_worker/model/step_output.h"

namespace baton::stage {

struct StepResult {
  uint64_t epoch = 0;
  uint64_t step_id = 0;
  StepOutput output;  // last stage only
  // Microseconds, on the device of rank 0: Submit to start; waiting for hidden states and tokens;
  // computing; handing hidden states on.
  uint32_t queue_us = 0;
  uint32_t receive_us = 0;
  uint32_t compute_us = 0;
  uint32_t send_us = 0;
  // From the end of the device's previous step to the start of this one's work; nothing if the
  // group had no work in between, or the step has no rows.
  std::optional<uint32_t> gap_us;
};

// Where results go. Calls come from device threads and must not block for long or call back into
// the executor.
class StepObserver {
 public:
  virtual ~StepObserver() = default;

  // A step is done, and every device has handed over what it sends of it. In the order of step_id,
  // one call at a time, from the thread of the device that was last; of the last stage from that of
  // rank 0's device, which alone sends.
  virtual void OnStepDone(StepResult result) = 0;

  // The stage cannot compute `step_id`, nor any later step of `epoch`: hidden states did not come
  // or could not be sent. Once per epoch, from any device's thread. The scheduler must raise the
  // epoch.
  virtual void OnEpochBroken(uint64_t epoch, uint64_t step_id, absl::Status status) = 0;
};

}  // namespace baton::stage
