// From a micro-batch of the core to the command that the stages get.
#pragma once

#include <cstdint>
#include <functional>

#include "protos/baton/v1/stage.pb.h"
#include "services/scheduler/core/schedule.h"

namespace baton::scheduler {

// `schedule` has just formed `batch`; `sampling` is asked for sequences that begin.
v1::StepCommand EncodeStep(const Batch& batch, uint64_t epoch, const Schedule& schedule,
                           const std::function<const v1::SamplingParams&(SequenceId)>& sampling);

}  // namespace baton::scheduler
