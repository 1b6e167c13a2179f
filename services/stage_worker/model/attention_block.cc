#include "services/stage_worker/model/attention_block.h"

namespace baton::stage {
namespace {

// Latent and rotary key of each row into the cache; the same on every device.
void WriteCache(const DeviceContext& context, const StepRows& rows, const LayerWeights& layer,
                const kernels::KvPages& cache) {
  const ModelConfig& config = *context.config;
  const Workspace& space = *context.workspace;
  const TensorView kv_a = space.kv_a.Rows(0, rows.num_tokens);
  const TensorView latent = kv_a.Columns(0, config.kv_lora_rank);
  const TensorView rope_key = kv_a.Columns(config.kv_lora_rank, config.qk_rope_head_dim);
  context.ops->Linear(
      {.x = space.normed.Rows(0, rows.num_tokens), .weight = layer.kv_a.get(), .out = kv_a});
  context.ops->RmsNorm({.x = latent,
                        .weight = layer.kv_a_norm,
                        .epsilon = static_cast<float>(config.rms_norm_epsilon),
                        .out = latent});
  context.ops->KvWrite({.latent = latent,
                        .rope_key = rope_key,
                        .layout = rows.layout,
                        .cache = cache,
                        .rotary_table = space.rotary_table});
}

// What q is projected from: normed, or its normalised low-rank image.
TensorView QueryInput(const DeviceContext& context, int64_t num_tokens, const LayerWeights& layer) {
  const Workspace& space = *context.workspace;
  const TensorView normed = space.normed.Rows(0, num_tokens);
  if (layer.q_a == nullptr) return normed;
  const TensorView q_a = space.q_a.Rows(0, num_tokens);
  context.ops->Linear({.x = normed, .weight = layer.q_a.get(), .out = q_a});
  context.ops->RmsNorm({.x = q_a,
                        .weight = layer.q_a_norm,
                        .epsilon = static_cast<float>(context.config->rms_norm_epsilon),
                        .out = q_a});
  return q_a;
}

// The rows [begin, end) of a step alone.
kernels::StepLayout Part(const kernels::StepLayout& layout, int64_t begin, int64_t end) {
  kernels::StepLayout part = layout;
  const auto first = static_cast<size_t>(begin);
  const auto count = static_cast<size_t>(end - begin);
  part.positions = layout.positions.subspan(first, count);
  part.sequence_rows = layout.sequence_rows.subspan(first, count);
  return part;
}

// Rows [begin, end) of workspace.value from those of workspace.q, one rank's heads, in the absorbed
// form.
void AttendAbsorbed(const DeviceContext& context, const StepRows& rows, int64_t begin, int64_t end,
                    const AttentionShard& shard, const kernels::KvPages& cache) {
  if (begin == end) return;
  const ModelConfig& config = *context.config;
  const Workspace& space = *context.workspace;
  const int64_t heads = config.num_heads / context.num_ranks;
  const int64_t nope = config.qk_nope_head_dim;
  const int64_t head_stride = config.qk_head_dim();
  const TensorView q = space.q.Rows(begin, end - begin);
  const TensorView q_latent = space.q_latent.Rows(begin, end - begin);
  const TensorView attended = space.attended.Rows(begin, end - begin);
  context.ops->HeadwiseLinear(
      {.x = q, .x_head_stride = head_stride, .weights = shard.w_uk_heads, .out = q_latent});
  context.ops->MlaAttention({.q_latent = q_latent,
                             .q_rope = q.Columns(nope, heads * head_stride - nope),
                             .q_rope_head_stride = head_stride,
                             .heads = heads,
                             .scale = static_cast<float>(config.attention_scale()),
                             .layout = Part(rows.layout, begin, end),
                             .cache = cache,
                             .out = attended});
  context.ops->HeadwiseLinear(
      {.x = attended, .weights = shard.w_uv_heads, .out = space.value.Rows(begin, end - begin)});
}

// Likewise in the expanded form.
void AttendExpanded(const DeviceContext& context, const StepRows& rows, int64_t begin, int64_t end,
                    const AttentionShard& shard, const kernels::KvPages& cache) {
  const ModelConfig& config = *context.config;
  const Workspace& space = *context.workspace;
  context.ops->MlaPromptAttention({.q = space.q.Rows(begin, end - begin),
                                   .q_head_stride = config.qk_head_dim(),
                                   .key_weights = shard.w_k_heads,
                                   .value_weights = shard.w_uv_heads,
                                   .scale = static_cast<float>(config.attention_scale()),
                                   .layout = Part(rows.layout, begin, end),
                                   .cache = cache,
                                   .out = space.value.Rows(begin, end - begin)});
}

// One rank's heads: its part of the output projection's sum.
void AttendRank(const DeviceContext& context, const StepRows& rows, const AttentionShard& shard,
                const kernels::KvPages& cache, const TensorView& query_input,
                const TensorView& out) {
  const ModelConfig& config = *context.config;
  const Workspace& space = *context.workspace;
  const int64_t heads = config.num_heads / context.num_ranks;
  const int64_t nope = config.qk_nope_head_dim;
  const int64_t head_stride = config.qk_head_dim();
  const TensorView q = space.q.Rows(0, rows.num_tokens);

  context.ops->Linear({.x = query_input, .weight = shard.q.get(), .out = q});
  context.ops->Rope({.x = q.Columns(nope, heads * head_stride - nope),
                     .heads = heads,
                     .head_stride = head_stride,
                     .dims = config.qk_rope_head_dim,
                     .positions = rows.layout.positions,
                     .table = space.rotary_table});
  int64_t begin = 0;
  for (const RowRange& expanded : rows.expanded_rows) {
    AttendAbsorbed(context, rows, begin, expanded.begin, shard, cache);
    AttendExpanded(context, rows, expanded.begin, expanded.end, shard, cache);
    begin = expanded.end;
  }
  AttendAbsorbed(context, rows, begin, rows.num_tokens, shard, cache);
  context.ops->Linear(
      {.x = space.value.Rows(0, rows.num_tokens), .weight = shard.o.get(), .out = out});
}

}  // namespace

void RunAttention(const DeviceContext& context, const StepRows& rows, const LayerWeights& layer,
                  const kernels::KvPages& cache) {
  WriteCache(context, rows, layer, cache);
  const TensorView query_input = QueryInput(context, rows.num_tokens, layer);
  for (size_t i = 0; i < layer.ranks.size(); ++i) {
    AttendRank(context, rows, layer.ranks[i].attention, cache, query_input,
               context.workspace->parts[i].Rows(0, rows.num_tokens));
  }
  SumOverRanks(context, rows.num_tokens);
}

}  // namespace baton::stage
