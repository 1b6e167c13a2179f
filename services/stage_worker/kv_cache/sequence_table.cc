#include "services/stage_worker/kv_cache/sequence_table.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "kernels/api/attention.h"

namespace baton::stage {
namespace {

int64_t BlocksFor(int64_t num_tokens) {
  return (num_tokens + kernels::kBlockTokens - 1) / kernels::kBlockTokens;
}

}  // namespace

struct SequenceTable::Standing {
  int64_t num_tokens = 0;
  int64_t num_computed = 0;
  const std::vector<uint32_t>* blocks = nullptr;  // null: none yet
  const std::vector<uint32_t>* drafts = nullptr;  // null: none yet
  uint64_t sample_step_id = 0;
  bool lacks_history = false;     // needed for its next draw, and a token is not known
  int64_t num_cached_blocks = 0;  // first ones of those that the chunk adds
};

void SequenceTable::Reset(int64_t num_blocks) {
  sequences_.clear();
  block_uses_.Reset(num_blocks);
}

// Also of a first chunk: what lies before it in its blocks must be its own beginning.
absl::Status SequenceTable::CheckBegin(const ChunkWork& chunk, const Standing& standing) {
  const int64_t num_drafts =
      standing.drafts == nullptr ? 0 : static_cast<int64_t>(standing.drafts->size());
  const int64_t num_right = chunk.begin - standing.num_computed;
  if (num_right < 0 || num_right > num_drafts) {
    return absl::InvalidArgumentError(absl::StrCat(
        "sequence ", chunk.sequence_id, ": chunk begins at a wrong position: ", chunk.begin,
        ", need ", standing.num_computed, num_drafts > 0 ? " or up to so many more: " : "",
        num_drafts > 0 ? absl::StrCat(num_drafts) : ""));
  }
  // Drafts stand behind all that was known.
  for (int64_t i = 0; i < num_right; ++i) {
    const auto index = static_cast<size_t>(i);
    if (index < chunk.appended_token_ids.size() &&
        chunk.appended_token_ids[index] == (*standing.drafts)[index]) {
      continue;
    }
    return absl::InvalidArgumentError(
        absl::StrCat("sequence ", chunk.sequence_id, ": chunk begins at ", chunk.begin,
                     " behind a draft that is not the token at ", standing.num_computed + i));
  }
  return absl::OkStatus();
}

absl::Status SequenceTable::CheckFeedback(const ChunkWork& chunk, const Standing& standing) const {
  if (chunk.feedback_step_id == 0) return absl::OkStatus();
  if (chunk.feedback_step_id != standing.sample_step_id) {
    return absl::InvalidArgumentError(absl::StrCat(
        "sequence ", chunk.sequence_id, ": a token fed back from step ", chunk.feedback_step_id,
        "; the newest step that samples it is ", standing.sample_step_id));
  }
  if (chunk.num_tokens != 1 || !chunk.appended_token_ids.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("sequence ", chunk.sequence_id, ": a token fed back among ", chunk.num_tokens,
                     " of a chunk with ", chunk.appended_token_ids.size(), " appended"));
  }
  return absl::OkStatus();
}

absl::Status SequenceTable::CheckChunk(const ChunkWork& chunk, const Standing& standing) const {
  const auto refuse = [&chunk](absl::string_view what, int64_t have, int64_t want) {
    return absl::InvalidArgumentError(
        absl::StrCat("sequence ", chunk.sequence_id, ": ", what, ": ", have, ", need ", want));
  };
  RETURN_IF_ERROR(CheckFeedback(chunk, standing));
  RETURN_IF_ERROR(CheckBegin(chunk, standing));
  const int64_t end = int64_t{chunk.begin} + chunk.num_tokens;
  const int64_t num_tokens =
      standing.num_tokens +
      static_cast<int64_t>(chunk.appended_token_ids.size() + chunk.draft_token_ids.size()) +
      (chunk.feedback_step_id > 0 ? 1 : 0);
  if (num_tokens > limits_.max_model_len) {
    return refuse("tokens beyond max_model_len", num_tokens, limits_.max_model_len);
  }
  if (end > num_tokens) return refuse("tokens known", num_tokens, end);
  if (chunk.sample && end != num_tokens) return refuse("samples before its end", end, num_tokens);
  if (chunk.sample && standing.lacks_history) {
    return absl::InvalidArgumentError(absl::StrCat("sequence ", chunk.sequence_id,
                                                   ": samples after two tokens fed back at once"));
  }
  const int64_t num_old = standing.blocks == nullptr ? 0 : standing.blocks->size();
  const int64_t num_blocks = num_old + static_cast<int64_t>(chunk.new_block_ids.size());
  if (num_blocks < BlocksFor(end)) return refuse("blocks", num_blocks, BlocksFor(end));
  if (num_blocks > BlocksFor(limits_.max_model_len)) {
    return refuse("too many blocks", num_blocks, BlocksFor(limits_.max_model_len));
  }
  absl::flat_hash_set<uint32_t> seen;
  for (uint32_t block : chunk.new_block_ids) {
    const bool held = standing.blocks != nullptr &&
                      std::find(standing.blocks->begin(), standing.blocks->end(), block) !=
                          standing.blocks->end();
    if (held || !seen.insert(block).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("sequence ", chunk.sequence_id, ": block ", block, " twice"));
    }
  }
  return absl::OkStatus();
}

absl::Status SequenceTable::UseBlocks(const ChunkWork& chunk, const Standing& standing,
                                      BlockUsesDraft* uses) {
  const auto num_cached = static_cast<size_t>(standing.num_cached_blocks);
  for (size_t i = 0; i < chunk.new_block_ids.size(); ++i) {
    const uint32_t block = chunk.new_block_ids[i];
    RETURN_IF_ERROR(i < num_cached ? uses->Share(block) : uses->Take(block));
  }
  const size_t num_old = standing.blocks == nullptr ? 0 : standing.blocks->size();
  if (standing.drafts != nullptr && !standing.drafts->empty()) {
    const int64_t drafts_end =
        standing.num_computed + static_cast<int64_t>(standing.drafts->size());
    for (int64_t wrong = chunk.begin; wrong < drafts_end;) {
      const int64_t index = wrong / kernels::kBlockTokens;
      uses->Unwrite((*standing.blocks)[static_cast<size_t>(index)],
                    static_cast<uint32_t>(wrong % kernels::kBlockTokens));
      wrong = (index + 1) * kernels::kBlockTokens;
    }
  }
  const uint32_t end = chunk.begin + chunk.num_tokens;
  for (uint32_t begin = chunk.begin; begin < end;) {
    const uint32_t index = begin / kernels::kBlockTokens;
    const uint32_t block_begin = index * kernels::kBlockTokens;
    const uint32_t slot_end = std::min<uint32_t>(end - block_begin, kernels::kBlockTokens);
    const uint32_t block =
        index < num_old ? (*standing.blocks)[index] : chunk.new_block_ids[index - num_old];
    RETURN_IF_ERROR(uses->Write(block, begin - block_begin, slot_end));
    begin = block_begin + slot_end;
  }
  return absl::OkStatus();
}

absl::Status SequenceTable::CheckAgainstTable(const StepWork& work, BlockUsesDraft* uses) const {
  absl::flat_hash_set<uint64_t> finished;
  absl::flat_hash_map<uint64_t, const NewSequenceWork*> learned;
  const auto unknown = [](uint64_t id) {
    return absl::InvalidArgumentError(absl::StrCat("sequence ", id, " is not known"));
  };
  for (uint64_t id : work.finished_sequence_ids) {
    const auto known = sequences_.find(id);
    if (known == sequences_.end()) return unknown(id);
    finished.insert(id);
    uses->Drop(known->second.blocks);
  }
  for (const NewSequenceWork& sequence : work.new_sequences) {
    learned[sequence.sequence_id] = &sequence;
    const auto known = sequences_.find(sequence.sequence_id);
    if (known != sequences_.end() && !finished.contains(sequence.sequence_id)) {
      uses->Drop(known->second.blocks);
    }
  }
  for (const ChunkWork& chunk : work.chunks) {
    Standing standing;
    if (const auto found = learned.find(chunk.sequence_id); found != learned.end()) {
      standing.num_tokens = static_cast<int64_t>(found->second->token_ids.size());
      standing.num_computed = found->second->num_cached_tokens;
      standing.num_cached_blocks = BlocksFor(standing.num_computed);
    } else {
      const auto known = sequences_.find(chunk.sequence_id);
      if (known == sequences_.end() || finished.contains(chunk.sequence_id)) {
        return unknown(chunk.sequence_id);
      }
      const Sequence& sequence = known->second;
      standing = {static_cast<int64_t>(sequence.tokens.size()),
                  sequence.num_computed,
                  &sequence.blocks,
                  &sequence.drafts,
                  sequence.sample_step_id,
                  sequence.sampling->needs_history() && !sequence.unknown_positions.empty(),
                  sequence.blocks.empty() ? BlocksFor(sequence.num_computed) : 0};
    }
    RETURN_IF_ERROR(CheckChunk(chunk, standing));
    RETURN_IF_ERROR(
        Annotate(UseBlocks(chunk, standing, uses), absl::StrCat("sequence ", chunk.sequence_id)));
  }
  return absl::OkStatus();
}

void SequenceTable::Learn(const NewSequenceWork& work) {
  sequences_.erase(work.sequence_id);
  Sequence& sequence = sequences_[work.sequence_id];
  sequence.tokens = work.token_ids;
  sequence.num_prompt_tokens = work.num_prompt_tokens;
  sequence.num_computed = work.num_cached_tokens;
  sequence.sampling = std::make_shared<const SamplingSettings>(work.sampling);
}

void SequenceTable::LearnToken(uint64_t sequence_id, uint32_t position, uint32_t token) {
  const auto found = sequences_.find(sequence_id);
  if (found == sequences_.end()) return;
  Sequence& sequence = found->second;
  if (position == sequence.tokens.size()) sequence.next_token = token;
  std::vector<uint32_t>& unknown = sequence.unknown_positions;
  const auto place = std::find(unknown.begin(), unknown.end(), position);
  if (place == unknown.end()) return;
  sequence.tokens[position] = token;
  unknown.erase(place);
}

void SequenceTable::Extend(Sequence& sequence, const ChunkWork& chunk, uint64_t step_id) {
  if (chunk.feedback_step_id > 0) {
    sequence.tokens.push_back(sequence.next_token.value_or(0));
    if (limits_.draws && !sequence.next_token.has_value()) {
      sequence.unknown_positions.push_back(chunk.begin);
    }
  }
  sequence.next_token.reset();  // known by now, one way or the other
  if (chunk.sample) sequence.sample_step_id = step_id;
  sequence.tokens.insert(sequence.tokens.end(), chunk.appended_token_ids.begin(),
                         chunk.appended_token_ids.end());
  sequence.blocks.insert(sequence.blocks.end(), chunk.new_block_ids.begin(),
                         chunk.new_block_ids.end());
  sequence.drafts = chunk.draft_token_ids;
  sequence.num_computed =
      chunk.begin + chunk.num_tokens - static_cast<uint32_t>(sequence.drafts.size());
}

int64_t SequenceTable::NumBlocksOf(const Sequence& sequence, const ChunkWork& chunk) const {
  // Guesses behind the guesses are computed too, where they find room.
  const int64_t end = int64_t{chunk.begin} + chunk.num_tokens + (drafts() ? limits_.max_drafts : 0);
  return std::min(BlocksFor(end), static_cast<int64_t>(sequence.blocks.size()));
}

void SequenceTable::AddRows(const Sequence& sequence, const ChunkWork& chunk, int32_t sequence_row,
                            StepBatch& batch) const {
  const size_t num_known = sequence.tokens.size();
  const auto token_at = [&](size_t position) {
    if (position < num_known) return sequence.tokens[position];
    const size_t draft = position - num_known;
    return draft < sequence.drafts.size() ? sequence.drafts[draft] : 0u;
  };
  for (uint32_t position = chunk.begin; position < chunk.begin + chunk.num_tokens; ++position) {
    batch.token_ids.push_back(token_at(position));
    batch.positions.push_back(static_cast<int32_t>(position));
    batch.sequence_rows.push_back(sequence_row);
    if (drafts()) batch.next_token_ids.push_back(token_at(position + 1));
  }
}

void SequenceTable::AddExpandedRows(const Sequence& sequence, const ChunkWork& chunk,
                                    StepBatch& batch) const {
  constexpr auto kBlock = static_cast<uint32_t>(kernels::kBlockTokens);
  const uint32_t expanded_end = sequence.num_prompt_tokens / kBlock * kBlock;
  if (!limits_.expand_prompts || chunk.begin >= expanded_end) return;
  const uint32_t count = std::min(chunk.num_tokens, expanded_end - chunk.begin);
  const auto begin = static_cast<int32_t>(batch.num_tokens() - chunk.num_tokens);
  const int32_t end = begin + static_cast<int32_t>(count);
  if (!batch.expanded_rows.empty() && batch.expanded_rows.back().end == begin) {
    batch.expanded_rows.back().end = end;
  } else {
    batch.expanded_rows.push_back({begin, end});
  }
}

void SequenceTable::AddFedRow(const Sequence& sequence, const ChunkWork& chunk,
                              StepBatch& batch) const {
  FedRow fed;
  fed.row = static_cast<int32_t>(batch.num_tokens()) - 1;
  fed.sequence_id = chunk.sequence_id;
  fed.step_id = chunk.feedback_step_id;
  const bool in_history = limits_.draws && chunk.sample && sequence.sampling->needs_history();
  if (in_history) fed.draw = static_cast<int32_t>(batch.draws.size()) - 1;
  batch.fed_rows.push_back(fed);
}

void SequenceTable::AddDraws(const Sequence& sequence, const ChunkWork& chunk,
                             StepBatch& batch) const {
  const auto num_drafts = static_cast<uint32_t>(sequence.drafts.size());
  for (uint32_t depth = 0; depth <= num_drafts; ++depth) {
    DrawRow draw;
    draw.row = static_cast<int32_t>(batch.num_tokens() - 1 - num_drafts + depth);
    draw.sequence_id = chunk.sequence_id;
    draw.position = chunk.begin + chunk.num_tokens - num_drafts + depth;
    draw.depth = depth;
    if (depth < num_drafts) draw.draft = sequence.drafts[depth];
    draw.sampling = sequence.sampling;
    draw.masked = draw.position - sequence.num_prompt_tokens < sequence.sampling->min_tokens;
    if (limits_.draws && sequence.sampling->needs_history()) {
      const auto prompt_end = sequence.tokens.begin() + sequence.num_prompt_tokens;
      if (sequence.sampling->needs_prompt()) {
        draw.prompt_tokens.assign(sequence.tokens.begin(), prompt_end);
      }
      draw.answer_tokens.assign(prompt_end, sequence.tokens.end());
      draw.answer_tokens.insert(draw.answer_tokens.end(), sequence.drafts.begin(),
                                sequence.drafts.begin() + depth);
    }
    batch.draws.push_back(std::move(draw));
  }
}

void SequenceTable::AddPromptScores(const Sequence& sequence, const ChunkWork& chunk,
                                    StepBatch& batch) {
  // Row p scores the token at p + 1, as long as that is prompt.
  const uint32_t end = std::min(chunk.begin + chunk.num_tokens, sequence.num_prompt_tokens - 1);
  if (!sequence.sampling->num_prompt_logprobs.has_value() || chunk.begin >= end) return;
  ScoreRows scores;
  scores.row_begin = static_cast<int32_t>(batch.num_tokens() - chunk.num_tokens);
  scores.sequence_id = chunk.sequence_id;
  scores.position_begin = chunk.begin + 1;
  scores.targets.assign(sequence.tokens.begin() + chunk.begin + 1,
                        sequence.tokens.begin() + end + 1);
  scores.num_top = *sequence.sampling->num_prompt_logprobs;
  batch.prompt_scores.push_back(std::move(scores));
}

absl::StatusOr<std::unique_ptr<StepBatch>> SequenceTable::Apply(const StepWork& work) {
  RETURN_IF_ERROR(CheckStep(work, limits_, block_uses_.num_blocks()));
  BlockUsesDraft uses(&block_uses_);
  RETURN_IF_ERROR(CheckAgainstTable(work, &uses));
  uses.Commit();
  for (uint64_t id : work.finished_sequence_ids) sequences_.erase(id);
  for (const NewSequenceWork& sequence : work.new_sequences) Learn(sequence);

  auto batch = std::make_unique<StepBatch>();
  batch->epoch = work.epoch;
  batch->step_id = work.step_id;
  batch->max_blocks = 1;
  for (const ChunkWork& chunk : work.chunks) {
    Sequence& sequence = sequences_.at(chunk.sequence_id);
    Extend(sequence, chunk, work.step_id);
    batch->max_blocks = std::max(batch->max_blocks, NumBlocksOf(sequence, chunk));
  }
  const size_t num_sequences = work.chunks.size();
  batch->block_tables.assign(num_sequences * static_cast<size_t>(batch->max_blocks), 0);
  for (size_t i = 0; i < num_sequences; ++i) {
    const ChunkWork& chunk = work.chunks[i];
    const Sequence& sequence = sequences_.at(chunk.sequence_id);
    AddRows(sequence, chunk, static_cast<int32_t>(i), *batch);
    AddExpandedRows(sequence, chunk, *batch);
    const int64_t num_blocks = NumBlocksOf(sequence, chunk);
    if (drafts()) {
      const int64_t room = num_blocks * kernels::kBlockTokens;
      batch->capacities.push_back(static_cast<int32_t>(std::min(room, limits_.max_model_len)));
    }
    std::copy_n(sequence.blocks.begin(), num_blocks,
                batch->block_tables.begin() + static_cast<int64_t>(i) * batch->max_blocks);
    batch->sequence_ids.push_back(chunk.sequence_id);
    if (chunk.sample) AddDraws(sequence, chunk, *batch);
    if (chunk.feedback_step_id > 0) AddFedRow(sequence, chunk, *batch);
    AddPromptScores(sequence, chunk, *batch);
  }
  return batch;
}

}  // namespace baton::stage
