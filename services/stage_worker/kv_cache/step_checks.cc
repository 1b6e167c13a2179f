#include "services/stage_worker/kv_cache/step_checks.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "kernels/api/attention.h"

namespace baton::stage {
namespace {

absl::Status Refuse(uint64_t sequence_id, absl::string_view what, int64_t value) {
  return absl::InvalidArgumentError(absl::StrCat("sequence ", sequence_id, ": ", what, " ", value));
}

absl::Status CheckTokens(uint64_t sequence_id, const std::vector<uint32_t>& tokens,
                         const SequenceLimits& limits) {
  for (uint32_t token : tokens) {
    if (token >= limits.vocab_size) return Refuse(sequence_id, "token outside vocabulary:", token);
  }
  return absl::OkStatus();
}

// Whether a token can be drawn though the masked ones cannot.
bool LeavesAToken(const SamplingSettings& sampling, const SequenceLimits& limits) {
  const absl::flat_hash_set<uint32_t> masked(sampling.masked_token_ids.begin(),
                                             sampling.masked_token_ids.end());
  if (sampling.allowed_token_ids.empty()) {
    return static_cast<int64_t>(masked.size()) < limits.vocab_size;
  }
  return std::any_of(sampling.allowed_token_ids.begin(), sampling.allowed_token_ids.end(),
                     [&masked](uint32_t token) { return !masked.contains(token); });
}

absl::Status CheckSampling(const NewSequenceWork& sequence, const SequenceLimits& limits) {
  for (const kernels::TokenBias& bias : sequence.sampling.logit_bias) {
    if (bias.token_id >= limits.vocab_size) {
      return Refuse(sequence.sequence_id, "logit_bias outside vocabulary:", bias.token_id);
    }
  }
  const uint64_t id = sequence.sequence_id;
  RETURN_IF_ERROR(CheckTokens(id, sequence.sampling.allowed_token_ids, limits));
  RETURN_IF_ERROR(CheckTokens(id, sequence.sampling.masked_token_ids, limits));
  for (const std::vector<uint32_t>& banned : sequence.sampling.banned_sequences) {
    RETURN_IF_ERROR(CheckTokens(id, banned, limits));
  }
  if (const auto& budget = sequence.sampling.reasoning_budget; budget.has_value()) {
    RETURN_IF_ERROR(
        CheckTokens(id, {budget->end_token_id, budget->begin_after_token_id.value_or(0)}, limits));
  }
  if (const StructuredSettings* structured = sequence.sampling.structured.get()) {
    if (structured->end_token_ids.empty()) {
      return Refuse(id, "end_token_ids of its structured output:", 0);
    }
    RETURN_IF_ERROR(CheckTokens(id, structured->end_token_ids, limits));
    if (structured->begin_after_token_id.has_value()) {
      RETURN_IF_ERROR(CheckTokens(id, {*structured->begin_after_token_id}, limits));
    }
  }
  if (!LeavesAToken(sequence.sampling, limits)) {
    return Refuse(id, "masked_token_ids leave no token; entries:",
                  static_cast<int64_t>(sequence.sampling.masked_token_ids.size()));
  }
  return absl::OkStatus();
}

absl::Status CheckNew(const NewSequenceWork& sequence, const SequenceLimits& limits) {
  const int64_t num_tokens = static_cast<int64_t>(sequence.token_ids.size());
  if (sequence.num_prompt_tokens < 1 || sequence.num_prompt_tokens > num_tokens) {
    return Refuse(sequence.sequence_id, "num_prompt_tokens is", sequence.num_prompt_tokens);
  }
  if (sequence.num_cached_tokens % kernels::kBlockTokens != 0 ||
      sequence.num_cached_tokens >= num_tokens) {
    return Refuse(sequence.sequence_id, "num_cached_tokens is", sequence.num_cached_tokens);
  }
  if (num_tokens > limits.max_model_len) {
    return Refuse(sequence.sequence_id, "more tokens than max_model_len:", num_tokens);
  }
  RETURN_IF_ERROR(CheckTokens(sequence.sequence_id, sequence.token_ids, limits));
  return CheckSampling(sequence, limits);
}

absl::Status CheckChunk(const ChunkWork& chunk, const SequenceLimits& limits, int64_t num_blocks) {
  if (chunk.num_tokens < 1)
    return Refuse(chunk.sequence_id, "a chunk without tokens at", chunk.begin);
  for (uint32_t block : chunk.new_block_ids) {
    if (block >= num_blocks) return Refuse(chunk.sequence_id, "block out of range:", block);
  }
  const auto num_drafts = static_cast<int64_t>(chunk.draft_token_ids.size());
  if (num_drafts > limits.max_drafts || num_drafts >= chunk.num_tokens) {
    return Refuse(chunk.sequence_id, "too many drafts:", num_drafts);
  }
  if (num_drafts > 0 && !chunk.sample) {
    return Refuse(chunk.sequence_id, "drafts that nobody checks at", chunk.begin);
  }
  if (limits.max_drafts > 0 && chunk.feedback_step_id > 0) {
    return Refuse(chunk.sequence_id, "a token fed back though drafts are made, from step",
                  static_cast<int64_t>(chunk.feedback_step_id));
  }
  RETURN_IF_ERROR(CheckTokens(chunk.sequence_id, chunk.draft_token_ids, limits));
  return CheckTokens(chunk.sequence_id, chunk.appended_token_ids, limits);
}

}  // namespace

absl::Status CheckStep(const StepWork& work, const SequenceLimits& limits, int64_t num_blocks) {
  if (static_cast<int64_t>(work.chunks.size()) > limits.max_step_sequences) {
    return absl::InvalidArgumentError(absl::StrCat(
        "step of ", work.chunks.size(), " sequences, at most ", limits.max_step_sequences));
  }
  absl::flat_hash_set<uint64_t> finished, learned, chunked;
  for (uint64_t id : work.finished_sequence_ids) {
    if (!finished.insert(id).second) return Refuse(id, "finished twice in step", work.step_id);
  }
  for (const NewSequenceWork& sequence : work.new_sequences) {
    if (!learned.insert(sequence.sequence_id).second) {
      return Refuse(sequence.sequence_id, "new twice in step", work.step_id);
    }
    RETURN_IF_ERROR(CheckNew(sequence, limits));
  }
  int64_t num_tokens = 0;
  for (const ChunkWork& chunk : work.chunks) {
    if (!chunked.insert(chunk.sequence_id).second) {
      return Refuse(chunk.sequence_id, "two chunks in step", work.step_id);
    }
    RETURN_IF_ERROR(CheckChunk(chunk, limits, num_blocks));
    num_tokens += chunk.num_tokens;
  }
  if (num_tokens > limits.max_step_tokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("step of ", num_tokens, " tokens, at most ", limits.max_step_tokens));
  }
  return absl::OkStatus();
}

}  // namespace baton::stage
