// From the last hidden states to tokens and log-probabilities.
#pragma once

#include <cstdint>
#include <span>

#include "absl/status/status.h"

#include "services/stage_worker/kv_cache/step_batch.h"
#include "services/stage_worker/model/device_context.h"
#include "services/stage_worker/model/draw_rules.h"
#include "services/stage_worker/model/step_output.h"
#include "services/stage_worker/weights/stage_weights.h"

namespace baton::stage {

class OutputHead final {
 public:
  // Borrows; both must outlive the head.
  OutputHead(const DeviceContext* context, const StageWeights* weights)
      : context_(*context), weights_(*weights) {}

  // Final norm and logits for the rows that need them, from workspace.residual, in groups of at
  // most kMaxLogitRows; then scores and draws. All devices take part in the logits; only the device
  // of rank 0 draws, the others return an empty output. Logits that are not finite, and structured
  // output that cannot be kept, fail their sequence alone; where it is both, the logits are named,
  // which no request is the cause of. A row behind a draft draws only if that was drawn; if it
  // cannot, it is left to the step that begins with it.
  StepOutput Run(const StepBatch& batch) const;

 private:
  struct Draws;

  TensorView ComputeLogits(std::span<const int32_t> rows) const;
  void ScorePrompts(const StepBatch& batch, StepOutput& output) const;
  void Draw(const StepBatch& batch, StepOutput& output) const;
  // The draws of `indices`, whose logits are the first rows of `logits`.
  void DrawRows(const StepBatch& batch, std::span<const size_t> indices, const TensorView& logits,
                Draws& draws) const;
  // What may be drawn. Errors: as of DrawConstraints::TokensFor, with the position.
  absl::Status ChooseTokens(const DrawRow& draw, DrawTokens* tokens) const;
  bool draws() const { return context_.first_rank == 0; }

  const DeviceContext& context_;
  const StageWeights& weights_;
};

}  // namespace baton::stage
