// Token ids to the first hidden states.
#pragma once

#include <span>

#include "absl/strings/string_view.h"

#include "common/tensor/tensor_view.h"
#include "services/stage_worker/model/device_context.h"

namespace baton::stage {

// workspace.residual = embedding of the step's tokens. `tables`: per local rank its rows of the
// vocabulary [vocab / N, hidden]. Every element of the sum over ranks has one term that is not
// zero: exact. `name`: for the tap.
void EmbedTokens(const DeviceContext& context, const StepRows& rows,
                 std::span<const TensorView> tables, absl::string_view name);

}  // namespace baton::stage
