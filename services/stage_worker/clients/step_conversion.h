// Between the scheduler's wire form of steps and the stage's plain one.
#pragma once

#include "absl/status/statusor.h"

#include "protos/baton/v1/stage.pb.h"
#include "services/stage_worker/execution/step_result.h"
#include "services/stage_worker/kv_cache/step_work.h"

namespace baton::stage {

// Checks the ranges of sampling values as types.proto states them; what refers to sequences is
// checked by the executor. Errors: InvalidArgument naming sequence, field and value.
absl::StatusOr<StepWork> DecodeStep(const v1::StepCommand& command);

v1::StepReport EncodeReport(const StepResult& result);

}  // namespace baton::stage
