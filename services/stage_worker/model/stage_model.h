// The layers of one stage on one device, step by step.
//
//   LoadStep -> EmbedTokens or AssembleStream -> RunLayers -> WriteStream or ComputeOutput
//   -> Draft, where the stage has the MTP module
//
// Calls come in this order for each step that has tokens, on the device's thread; devices of a team
// make the same calls. Sharded operations run for the device's ranks one after the other and are
// summed over all ranks in rank order, so that the bits do not depend on how ranks are spread.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "absl/status/status.h"

#include "services/stage_worker/kv_cache/kv_cache.h"
#include "services/stage_worker/kv_cache/step_batch.h"
#include "services/stage_worker/model/device_context.h"
#include "services/stage_worker/model/mtp_module.h"
#include "services/stage_worker/model/output_head.h"
#include "services/stage_worker/model/step_graph.h"
#include "services/stage_worker/model/step_output.h"
#include "services/stage_worker/weights/stage_weights.h"

namespace baton::stage {

class StageModel final {
 public:
  // `context`'s and `weights` must outlive the model.
  StageModel(const DeviceContext& context, const StageShape& stage, const StageWeights* weights);
  StageModel(const StageModel&) = delete;
  StageModel& operator=(const StageModel&) = delete;

  // The cache of the epoch; must outlive its steps.
  void UseCache(const KvCache* cache) { cache_ = cache; }

  // Brings a step's ids, positions and block tables to the device; padded to a graph's size if the
  // device uses graphs and one takes the step.
  void LoadStep(const StepBatch& batch);

  // With the cache of the epoch, before its first step, on all devices at the same time: runs every
  // shape that graphs have, on padding alone. Nothing where the device runs no graphs.
  void RunGraphShapes();
  // What MakeGraphs made: the graphs of the first `count` of AllGraphs' shapes, the smallest first,
  // of `wanted` in all; `refusal` says why not more, and names the shape.
  struct MadeGraphs {
    size_t count = 0;
    size_t wanted = 0;
    absl::Status refusal;
  };
  // After RunGraphShapes, while no device of the stage runs anything: makes graphs while there is
  // memory for them.
  MadeGraphs MakeGraphs();
  // From here on steps run in the first `count` of the graphs, and others without: as many as all
  // devices have made. 0 before graphs are forgotten.
  void UseGraphs(size_t count);

  // First stage: the stream from the step's tokens.
  void EmbedStep();
  // Later stages: the stream from the previous stage's slices, those of the device's ranks, each
  // [tokens, hidden / N] in the compute type.
  void AssembleStream(std::span<const TensorView> slices);

  // Before the first step: what the step's rows need of the operations, on the cache's first layer;
  // nothing is kept. All layers, or one of each kind.
  void Rehearse(const StepBatch& batch, const KvCache& cache, bool all_layers, int64_t num_drafts);

  // All layers. The last layer's output stays apart from the stream until one of the next two.
  void RunLayers();

  // Not the last stage: the stream's columns of the device's ranks, into slots like the slices
  // above.
  void WriteStream(std::span<const TensorView> slots);
  // Last stage. Empty but on the device of rank 0.
  StepOutput ComputeOutput(const StepBatch& batch);
  // Last stage with the MTP module: guesses what follows the tokens that were drawn, which every
  // device is told. Empty but on the device of rank 0.
  std::vector<DraftedTokens> Draft(const StepBatch& batch, std::span<const CountedDraw> drawn,
                                   int64_t num_drafts);

 private:
  // None where no step runs in a graph.
  GraphLimits LimitsOfGraphs() const;
  void LoadRows(const PaddedRows& padded, const GraphShape& graph, int64_t num_tokens);
  void RunAllLayers();
  void NormStream();
  void RunLayer(size_t index, const kernels::KvPages& pages);
  void FinishStream();

  const DeviceContext context_;
  const StageShape stage_;
  const StageWeights& weights_;
  const OutputHead head_;
  const MtpModule mtp_;
  const KvCache* cache_ = nullptr;
  std::vector<RowRange> expanded_rows_;
  StepRows rows_;
  // What the layers run on: the same, with the padding of the graph that they run in.
  StepRows padded_rows_;
  std::optional<GraphShape> graph_;
  std::set<uint64_t> usable_graphs_;  // keys
};

}  // namespace baton::stage
