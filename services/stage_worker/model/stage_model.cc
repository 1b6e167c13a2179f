#include "services/stage_worker/model/stage_model.h"

#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "services/stage_worker/model/attention_block.h"
#include "services/stage_worker/model/embedding.h"
#include "services/stage_worker/model/mlp_block.h"
#include "services/stage_worker/model/moe_block.h"

namespace baton::stage {
namespace {

size_t DenseBytes(const TensorView& dense) {
  return static_cast<size_t>(dense.num_elements()) * SizeOf(dense.type);
}

}  // namespace

StageModel::StageModel(const DeviceContext& context, const StageShape& stage,
                       const StageWeights* weights)
    : context_(context),
      stage_(stage),
      weights_(*weights),
      head_(&context_, weights),
      mtp_(&context_, weights, context.config->num_layers) {}

GraphLimits StageModel::LimitsOfGraphs() const {
  if (!context_.runs_graphs) return {};
  const Workspace& space = *context_.workspace;
  const int64_t positions = space.rotary_table.rows;
  return {.max_rows = space.residual.rows,
          .max_blocks = (positions + kernels::kBlockTokens - 1) / kernels::kBlockTokens};
}

void StageModel::LoadRows(const PaddedRows& padded, const GraphShape& graph, int64_t num_tokens) {
  kernels::Ops* ops = context_.ops;
  const Workspace& space = *context_.workspace;
  graph_ = graph;
  padded_rows_.expanded_rows = {};  // devices that have graphs do not expand
  padded_rows_.num_tokens = graph.num_rows;
  padded_rows_.token_ids = Upload(ops, padded.token_ids, space.token_ids);
  padded_rows_.layout.positions = Upload(ops, padded.positions, space.positions);
  padded_rows_.layout.sequence_rows = Upload(ops, padded.sequence_rows, space.sequence_rows);
  // As long for every step of the graph: what it reads lies at the front.
  Upload(ops, padded.block_tables, space.block_tables);
  padded_rows_.layout.block_tables = space.block_tables;
  padded_rows_.layout.max_blocks = graph.max_blocks;
  const auto count = static_cast<size_t>(num_tokens);
  rows_ = padded_rows_;
  rows_.num_tokens = num_tokens;
  rows_.token_ids = padded_rows_.token_ids.first(count);
  rows_.layout.positions = padded_rows_.layout.positions.first(count);
  rows_.layout.sequence_rows = padded_rows_.layout.sequence_rows.first(count);
}

void StageModel::RunGraphShapes() {
  for (const GraphShape& graph : AllGraphs(LimitsOfGraphs())) {
    LoadRows(PadRows({}, graph), graph, 0);
    RunLayers();
  }
  context_.ops->Synchronize();
}

StageModel::MadeGraphs StageModel::MakeGraphs() {
  const std::vector<GraphShape> graphs = AllGraphs(LimitsOfGraphs());
  MadeGraphs made = {.wanted = graphs.size()};
  // The smallest gain the most: steps of few rows are over before they are launched.
  for (auto graph = graphs.rbegin(); graph != graphs.rend() && made.refusal.ok(); ++graph) {
    LoadRows(PadRows({}, *graph), *graph, 0);
    made.refusal = Annotate(context_.ops->MakeGraph(graph->key(), [this] { RunAllLayers(); }),
                            absl::StrCat("the graph of ", graph->num_rows, " rows with tables of ",
                                         graph->max_blocks, " blocks"));
    if (made.refusal.ok()) ++made.count;
  }
  context_.ops->Synchronize();
  return made;
}

void StageModel::UseGraphs(size_t count) {
  usable_graphs_.clear();
  const std::vector<GraphShape> graphs = AllGraphs(LimitsOfGraphs());
  for (size_t i = 0; i < count; ++i) usable_graphs_.insert(graphs[graphs.size() - 1 - i].key());
}

void StageModel::LoadStep(const StepBatch& batch) {
  const std::optional<GraphShape> graph =
      GraphFor(batch.num_tokens(), batch.max_blocks, LimitsOfGraphs());
  if (graph.has_value() && usable_graphs_.contains(graph->key())) {
    return LoadRows(PadRows(batch, *graph), *graph, batch.num_tokens());
  }
  graph_.reset();
  kernels::Ops* ops = context_.ops;
  const Workspace& space = *context_.workspace;
  rows_.num_tokens = batch.num_tokens();
  rows_.token_ids = Upload(ops, batch.token_ids, space.token_ids);
  rows_.layout.positions = Upload(ops, batch.positions, space.positions);
  rows_.layout.sequence_rows = Upload(ops, batch.sequence_rows, space.sequence_rows);
  rows_.layout.block_tables = Upload(ops, batch.block_tables, space.block_tables);
  rows_.layout.max_blocks = batch.max_blocks;
  expanded_rows_ = batch.expanded_rows;
  rows_.expanded_rows = expanded_rows_;
  padded_rows_ = rows_;
}

void StageModel::EmbedStep() { EmbedTokens(context_, rows_, weights_.embedding, "embed"); }

void StageModel::AssembleStream(std::span<const TensorView> slices) {
  const Workspace& space = *context_.workspace;
  std::vector<TensorView> read(slices.begin(), slices.end());
  for (size_t i = 0; i < space.slices.size(); ++i) {
    read[i] = space.slices[i].Rows(0, rows_.num_tokens);
    context_.ops->CopyToDevice(read[i].data, slices[i].data, DenseBytes(slices[i]));
  }
  context_.collectives->AllGatherColumns(read, space.residual.Rows(0, rows_.num_tokens));
}

void StageModel::Rehearse(const StepBatch& batch, const KvCache& cache, bool all_layers,
                          int64_t num_drafts) {
  const kernels::KvPages pages = cache.Layer(0);
  LoadStep(batch);
  // The stream is zeros until then, so all rows choose the same experts: no step needs more for
  // one.
  if (all_layers && stage_.has_embedding) EmbedStep();
  NormStream();
  bool seen[2] = {};
  for (size_t i = 0; i < weights_.layers.size(); ++i) {
    bool& seen_kind = seen[weights_.layers[i].router != nullptr ? 1 : 0];
    if (all_layers || !seen_kind) RunLayer(i, pages);
    seen_kind = true;
  }
  if (stage_.has_head) ComputeOutput(batch);
  if (stage_.has_mtp) {
    std::vector<CountedDraw> drawn;
    for (uint32_t i = 0; i < batch.draws.size(); ++i) drawn.push_back({i, 0});
    mtp_.Draft(batch, drawn, num_drafts, rows_, pages);
  }
  context_.ops->Synchronize();
}

void StageModel::RunLayers() {
  if (!graph_.has_value() || !usable_graphs_.contains(graph_->key())) return RunAllLayers();
  context_.ops->RunGraph(graph_->key(), [this] { RunAllLayers(); });
}

void StageModel::RunAllLayers() {
  NormStream();
  for (size_t i = 0; i < weights_.layers.size(); ++i) {
    RunLayer(i, cache_->Layer(static_cast<int64_t>(i)));
  }
}

void StageModel::NormStream() {
  const Workspace& space = *context_.workspace;
  context_.ops->RmsNorm({.x = space.residual.Rows(0, padded_rows_.num_tokens),
                         .weight = weights_.layers.front().input_norm,
                         .epsilon = static_cast<float>(context_.config->rms_norm_epsilon),
                         .out = space.normed.Rows(0, padded_rows_.num_tokens)});
}

void StageModel::RunLayer(size_t index, const kernels::KvPages& pages) {
  const Workspace& space = *context_.workspace;
  const TensorView residual = space.residual.Rows(0, padded_rows_.num_tokens);
  const TensorView summed = space.summed.Rows(0, padded_rows_.num_tokens);
  const TensorView normed = space.normed.Rows(0, padded_rows_.num_tokens);
  const float epsilon = static_cast<float>(context_.config->rms_norm_epsilon);
  const int64_t layer_index = stage_.layer_begin + static_cast<int64_t>(index);
  const LayerWeights& layer = weights_.layers[index];

  RunAttention(context_, padded_rows_, layer, pages);
  if (context_.tap != nullptr) {
    ShowTensor(context_, LayerName(layer_index, ".self_attn"), summed);
  }
  context_.ops->AddRmsNorm({.residual = residual,
                            .delta = summed,
                            .weight = layer.post_attention_norm,
                            .epsilon = epsilon,
                            .out = normed});
  if (layer.router == nullptr) {
    RunMlp(context_, padded_rows_, layer);
  } else {
    RunMoe(context_, padded_rows_, layer, layer_index);
  }
  if (context_.tap != nullptr) ShowTensor(context_, LayerName(layer_index, ".mlp"), summed);
  if (index + 1 == weights_.layers.size()) return;
  context_.ops->AddRmsNorm({.residual = residual,
                            .delta = summed,
                            .weight = weights_.layers[index + 1].input_norm,
                            .epsilon = epsilon,
                            .out = normed});
  if (context_.tap != nullptr) ShowTensor(context_, LayerName(layer_index, ""), residual);
}

void StageModel::WriteStream(std::span<const TensorView> slots) {
  const Workspace& space = *context_.workspace;
  const int64_t width = context_.config->hidden_size / context_.num_ranks;
  const bool copies = !space.slices.empty();
  for (size_t i = 0; i < slots.size(); ++i) {
    const int64_t begin = (context_.first_rank + static_cast<int64_t>(i)) * width;
    context_.ops->Add({.residual = space.residual.Rows(0, rows_.num_tokens).Columns(begin, width),
                       .delta = space.summed.Rows(0, rows_.num_tokens).Columns(begin, width),
                       .out = copies ? space.slices[i].Rows(0, rows_.num_tokens) : slots[i]});
  }
  if (context_.tap != nullptr) FinishStream();
  for (size_t i = 0; i < space.slices.size(); ++i) {
    context_.ops->CopyToHost(slots[i].data, space.slices[i].data, DenseBytes(slots[i]));
  }
  context_.ops->Synchronize();
}

void StageModel::FinishStream() {
  const Workspace& space = *context_.workspace;
  const TensorView residual = space.residual.Rows(0, rows_.num_tokens);
  context_.ops->Add(
      {.residual = residual, .delta = space.summed.Rows(0, rows_.num_tokens), .out = residual});
  if (context_.tap != nullptr) {
    ShowTensor(context_, LayerName(stage_.layer_end - 1, ""), residual);
  }
}

StepOutput StageModel::ComputeOutput(const StepBatch& batch) {
  FinishStream();
  return head_.Run(batch);
}

std::vector<DraftedTokens> StageModel::Draft(const StepBatch& batch,
                                             std::span<const CountedDraw> drawn,
                                             int64_t num_drafts) {
  return mtp_.Draft(batch, drawn, num_drafts, rows_, cache_->Layer(stage_.num_layers()));
}

}  // namespace baton::stage
