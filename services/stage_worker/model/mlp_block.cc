#include "services/stage_worker/model/mlp_block.h"

namespace baton::stage {

void RunMlp(const DeviceContext& context, const StepRows& rows, const LayerWeights& layer) {
  const Workspace& space = *context.workspace;
  for (size_t i = 0; i < layer.ranks.size(); ++i) {
    context.ops->FeedForward({.x = space.normed.Rows(0, rows.num_tokens),
                              .weights = layer.ranks[i].dense.view(),
                              .out = space.parts[i].Rows(0, rows.num_tokens)});
  }
  SumOverRanks(context, rows.num_tokens);
}

}  // namespace baton::stage
