// The checkpoint's MTP module: guesses the tokens behind the one that was just drawn.
//
// Its row p stands for the hidden state at position p of a sequence and the token at p + 1, and
// speaks of the token at p + 2. It runs over all rows of every step, prompts too, and keeps a KV
// cache of its own, one more layer of the stage's, at the positions of the rows. Its row of the
// last position of a cached block was computed with the token that followed there: if another
// follows here, guesses may be worse. What is drawn never depends on them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "services/stage_worker/kv_cache/kv_cache.h"
#include "services/stage_worker/kv_cache/step_batch.h"
#include "services/stage_worker/model/device_context.h"
#include "services/stage_worker/model/step_output.h"
#include "services/stage_worker/weights/stage_weights.h"

namespace baton::stage {

// The draws of a step that counted, the same on every device: by index in StepBatch::draws.
struct CountedDraw {
  uint32_t draw = 0;
  uint32_t token_id = 0;
};

class MtpModule final {
 public:
  // Borrows; both must outlive the module. `weights` has an MTP module.
  MtpModule(const DeviceContext* context, const StageWeights* weights, int64_t layer_index)
      : context_(*context), weights_(*weights), layer_index_(layer_index) {}

  // `rows` as the layers had them, their stream behind the last layer in workspace.residual, which
  // is overwritten. Returns `num_drafts` guesses for each sequence with a token in `drawn`; fewer
  // where its block table ends, or logits are not finite. The module's own state of the last row
  // stands in for the hidden state of tokens that are guessed. All devices take part; only what
  // the device of rank 0 returns is complete.
  std::vector<DraftedTokens> Draft(const StepBatch& batch, std::span<const CountedDraw> drawn,
                                   int64_t num_drafts, StepRows rows,
                                   const kernels::KvPages& cache) const;

 private:
  // A sequence whose next tokens are guessed.
  struct Guess {
    uint32_t draw = 0;  // its last one that counted
    int32_t row = 0;    // of workspace.residual, that speaks of the next token
    std::vector<uint32_t> tokens;
  };

  // The streams of all rows behind the module's layer.
  void RunStep(const StepBatch& batch, std::span<const CountedDraw> drawn, const StepRows& rows,
               const kernels::KvPages& cache) const;
  // One more token for each guess, the last one on the device of rank 0 alone; those whose logits
  // are not finite get none.
  void AddTokens(const StepBatch& batch, bool is_last, std::span<Guess> guesses) const;
  // One row for each guess, for the token that it ends with.
  void RunGuesses(const StepBatch& batch, std::span<Guess> guesses, StepRows rows,
                  const kernels::KvPages& cache) const;
  // The module's stream for tokens and normalised hidden states, which stand in the right half of
  // workspace.joined, into workspace.residual.
  void RunLayer(const StepRows& rows, const kernels::KvPages& cache) const;

  const DeviceContext& context_;
  const StageWeights& weights_;
  const int64_t layer_index_;  // in the checkpoint
};

}  // namespace baton::stage
