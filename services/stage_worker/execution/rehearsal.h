// Steps that are run before the memory plan is made: they bring every operation's working memory to
// its largest, make its tables and load its kernels.
#pragma once

#include <cstdint>

#include "services/stage_worker/kv_cache/step_batch.h"
#include "services/stage_worker/model/workspace.h"

namespace baton::stage {

// A step of `num_tokens` rows or as many as the limits allow: prompts of token 0, as long as
// sequences may be, with block tables as wide as there may be. Their blocks are counted from 0. On
// a stage with the head, as many rows are drawn as are computed at a time, with log-probabilities.
StepBatch MakeRehearsal(const WorkspaceShape& shape, int64_t num_tokens);
// The largest step, with all rows in the expanded form: the ends of prompts that are as long as
// sequences may be, for sums of rows that have several splits of attention behind them are kept.
// Blocks before these ends are block 0.
StepBatch MakeExpandedRehearsal(const WorkspaceShape& shape);

// Blocks of KV cache that the step names.
int64_t NumBlocksOf(const StepBatch& batch);

}  // namespace baton::stage
