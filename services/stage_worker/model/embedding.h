// Token ids to the first hidden states.
#pragma once

#include <span>

#include "common/tensor/tensor_view.h"
#include "services/stage_worker/model/device_context.h"

namespace baton::stage {

// workspace.residual = embedding of the step's tokens. `tables`: per local rank its rows of the
// vocabulary [vocab / N, hidden]. Every element of the sum over ranks has one term that is not
// zero: exact.
void EmbedTokens(const DeviceContext& context, const StepRows& rows,
                 std::span<const TensorView> tables);

}  // namespace baton::stage
