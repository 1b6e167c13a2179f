#include "services/stage_worker/model/embedding.h"

namespace baton::stage {

void EmbedTokens(const DeviceContext& context, const StepRows& rows,
                 std::span<const TensorView> tables, absl::string_view name) {
  const Workspace& space = *context.workspace;
  const int64_t num_tokens = rows.num_tokens;
  for (size_t i = 0; i < tables.size(); ++i) {
    const int64_t rank = context.first_rank + static_cast<int64_t>(i);
    context.ops->Embed({.token_ids = rows.token_ids,
                        .table = tables[i],
                        .vocabulary_begin = static_cast<uint32_t>(rank * tables[i].rows),
                        .out = space.parts[i].Rows(0, num_tokens)});
  }
  SumOverRanks(context, num_tokens);
  context.ops->Add({.residual = space.zeros.Rows(0, num_tokens),
                    .delta = space.summed.Rows(0, num_tokens),
                    .out = space.residual.Rows(0, num_tokens)});
  ShowTensor(context, name, space.residual.Rows(0, num_tokens));
}

}  // namespace baton::stage
