#include "services/stage_worker/model/head_rows.h"

#include <vector>

namespace baton::stage {

void NormRows(const DeviceContext& context, const TensorView& x, std::span<const int32_t> rows,
              const TensorView& weight, const TensorView& out) {
  const auto num_rows = static_cast<int64_t>(rows.size());
  // One call per run of neighbouring rows.
  for (int64_t begin = 0, end = 0; begin < num_rows; begin = end) {
    end = begin + 1;
    while (end < num_rows &&
           rows[static_cast<size_t>(end)] == rows[static_cast<size_t>(end - 1)] + 1) {
      ++end;
    }
    context.ops->RmsNorm({.x = x.Rows(rows[static_cast<size_t>(begin)], end - begin),
                          .weight = weight,
                          .epsilon = static_cast<float>(context.config->rms_norm_epsilon),
                          .out = out.Rows(begin, end - begin)});
  }
}

TensorView MultiplyHead(const DeviceContext& context, const TensorView& normed,
                        std::span<const PackedPtr> head) {
  const Workspace& space = *context.workspace;
  std::vector<TensorView> shards;
  for (size_t i = 0; i < head.size(); ++i) {
    shards.push_back(space.logit_shards[i].Rows(0, normed.rows));
    context.ops->Linear({.x = normed, .weight = head[i].get(), .out = shards.back()});
  }
  const TensorView logits = space.logits.Rows(0, normed.rows);
  context.collectives->AllGatherColumns(shards, logits);
  return logits;
}

kernels::SamplingRow SamplingRowOf(const DrawRow& draw) {
  const SamplingSettings& settings = *draw.sampling;
  kernels::SamplingRow row;
  row.temperature = settings.temperature;
  row.top_p = settings.top_p;
  row.top_k = settings.top_k;
  row.min_p = settings.min_p;
  row.presence_penalty = settings.presence_penalty;
  row.frequency_penalty = settings.frequency_penalty;
  row.repetition_penalty = settings.repetition_penalty;
  row.seed = settings.seed;
  row.position = draw.position;
  row.prompt_tokens = draw.prompt_tokens;
  row.answer_tokens = draw.answer_tokens;
  row.logit_bias = settings.logit_bias;
  row.allowed_tokens = settings.allowed_token_ids;
  if (draw.masked) row.masked_tokens = settings.masked_token_ids;
  row.logprobs = settings.logprobs;
  row.num_top_logprobs = settings.num_top_logprobs;
  return row;
}

}  // namespace baton::stage
