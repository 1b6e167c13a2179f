#include "services/scheduler/core/batch_builder.h"

#include <algorithm>
#include <utility>

#include "common/log/check.h"
#include "services/scheduler/core/decode_policy.h"
#include "services/scheduler/core/prefill_policy.h"

namespace baton::scheduler {
namespace {

// Drafts take no more than this part of a step: most of it is for what is certain to be of use.
constexpr uint32_t kDraftParts = 4;

}  // namespace

void AddWork(const BatchRow& row, StepWork* work) {
  if (row.drafts.empty()) {
    work->Add(row.begin, row.num_tokens, row.sample, row.num_expanded);
  } else {
    work->AddVerified(row.begin, row.num_tokens);
  }
}

void BatchBuilder::Reset(StepId step_id) {
  step_id_ = step_id;
  budget_ = limits_.max_tokens;
  part_tokens_ = limits_.max_tokens;
  told_bytes_ = 0;
  work_ = {};
  urgent_ = {};
  urgent_seconds_ = 0;
  most_seconds_ = 0;
  decode_seconds_ = 0;
  other_tokens_ = UINT32_MAX;
  has_other_decode_ = false;
  preempted_ = false;
  num_newcomers_ = 0;
  suspended_blocks_.reset();
  yielding_.clear();
  prompts_wait_ = false;
  keys_to_begin_.clear();
  ahead_.reset();
  rows_.clear();
  guesses_.clear();
}

std::vector<BatchRow> BatchBuilder::BuildAlone(Sequence* sequence, StepId step_id) {
  Reset(step_id);
  if (sequence->state() == Sequence::State::kRunning) {
    AddDecodes({});
    AddBegunPrompts();
  } else {
    Begin(sequence);
  }
  return std::move(rows_);
}

std::vector<BatchRow> BatchBuilder::Build(StepId step_id) {
  Reset(step_id);
  SharePlaces();
  AddDecodes(limits_.feedback);
  AddBegunPrompts();
  // Blocks that others gave up, or are to, are not for a newcomer, nor is what prompts want that
  // began.
  if (!collects_blocks() && !prompts_wait_) AddNewPrompts();
  return std::move(rows_);
}

void BatchBuilder::AddDecodes(const FeedbackLimits& feedback) {
  std::vector<Sequence*> candidates = DecodeCandidates(*state_.running, feedback);
  const size_t share = DecodeShare(&candidates, *state_.running, limits_.num_steps, *state_.cost);
  const size_t num_urgent = MoveUrgentFirst(share, &candidates);
  const Sequence* starved = nullptr;  // the first in order of service that found no block
  for (size_t i = 0; i < candidates.size(); ++i) {
    Sequence* const sequence = candidates[i];
    if (i == num_urgent) PlanTime();
    if (full() || rows_.size() >= share || (i >= num_urgent && !HasTimeFor(*sequence))) break;
    if (sequence->state() != Sequence::State::kRunning) continue;  // gave way to one before it
    // Always ordered ahead, a sequence would always be in flight, and never give way.
    const bool is_pending = !sequence->runnable();
    if (is_pending && starved != nullptr && ServedBefore()(starved, sequence)) continue;
    const bool is_added = AddDecode(sequence);
    if (is_added && i >= num_urgent) {
      has_other_decode_ = true;
      CountOther(1);
    }
    // One that finds no block leaves its place in the step to the next.
    if (is_added || is_pending) continue;
    if (starved == nullptr || ServedBefore()(sequence, starved)) starved = sequence;
  }
  if (most_seconds_ <= 0) PlanTime();
  AddDrafts();
  if (most_seconds_ <= 0) return;
  most_seconds_ = std::max(most_seconds_, SecondsWithUrgent() + most_seconds_ - decode_seconds_);
}

bool BatchBuilder::AddDecode(Sequence* sequence) {
  if (!sequence->runnable()) {
    // Nobody gives way for a token that may turn out not to be wanted.
    std::optional<std::vector<BlockId>> blocks =
        state_.ledger->Grow(sequence->id(), uint64_t{sequence->num_scheduled()} + 1);
    if (blocks.has_value()) AddPendingRow(sequence, *std::move(blocks));
    return blocks.has_value();
  }
  std::optional<std::vector<BlockId>> blocks = FindBlocks(sequence);
  if (!blocks.has_value()) return false;
  std::vector<TokenId> drafts = sequence->drafts();
  if (!drafts.empty()) guesses_.push_back({rows_.size(), sequence, std::move(drafts)});
  AddRow(sequence, 1, *std::move(blocks));
  return true;
}

void BatchBuilder::AddDrafts() {
  if (guesses_.empty()) return;
  uint64_t left = std::min(limits_.max_tokens / kDraftParts, budget_);
  StepWork all;  // guesses so far
  for (Guesses& guesses : guesses_) {
    BatchRow& row = rows_[guesses.row];
    const uint64_t most = NumInTime(std::min<uint64_t>(left, guesses.drafts.size()), all);
    const size_t count = NumUseful(*guesses.sequence, most, &row.new_blocks);
    all.AddGuesses(count);
    guesses.drafts.resize(count);
    row.drafts = std::move(guesses.drafts);
    row.num_tokens += static_cast<uint32_t>(count);
    budget_ -= static_cast<uint32_t>(count);
    CountOther(static_cast<uint32_t>(count));
    left -= count;
  }
  work_ = {};
  for (const BatchRow& row : rows_) AddWork(row, &work_);
}

size_t BatchBuilder::NumUseful(const Sequence& sequence, uint64_t most,
                               std::vector<BlockId>* blocks) {
  // Behind the last token that it may have, none is of use.
  const uint64_t most_tokens = std::min<uint64_t>(
      limits_.max_len, uint64_t{sequence.num_prompt_tokens()} + sequence.stop().max_tokens);
  const uint64_t with_next = uint64_t{sequence.num_tokens()} + 1;
  most = std::min(most, most_tokens - std::min(most_tokens, with_next));
  // Nobody gives way for a guess.
  const uint64_t computed = sequence.num_scheduled();
  const std::optional<std::vector<BlockId>> more =
      state_.ledger->Grow(sequence.id(), computed + most);
  if (more.has_value()) {
    blocks->insert(blocks->end(), more->begin(), more->end());
    return most;
  }
  const uint64_t room =
      state_.ledger->Table(sequence.id()).size() * uint64_t{state_.ledger->block_tokens()};
  return std::min(most, room - computed);
}

CachedPrefix BatchBuilder::MakeRoomFor(Sequence* sequence) {
  while (true) {
    CachedPrefix prefix = state_.ledger->FindPrefix(sequence);
    if (FitsNow(*sequence, prefix, *state_.ledger, NumReserved(*sequence))) return prefix;
    Sequence* const unread = LastIdle(*state_.suspended);
    if (unread == nullptr || !FitsWithSuspended(*sequence, prefix)) return prefix;
    Preempt(unread);
  }
}

bool BatchBuilder::FitsWithSuspended(const Sequence& sequence, const CachedPrefix& prefix) {
  const uint64_t num_needed =
      BlocksNeeded(sequence, prefix, *state_.ledger) + NumReserved(sequence);
  const uint64_t num_free = state_.ledger->num_free();
  return num_needed <= num_free || num_needed <= num_free + NumSuspendedBlocks(prefix);
}

uint64_t BatchBuilder::NumSuspendedBlocks(const CachedPrefix& prefix) {
  const BlockLedger& ledger = *state_.ledger;
  if (!suspended_blocks_.has_value()) {
    SuspendedBlocks& blocks = suspended_blocks_.emplace();
    blocks.num_holders.resize(ledger.num_blocks());
    for (const Sequence* unread : *state_.suspended) {
      if (unread->num_steps_in_flight() > 0) continue;
      for (const BlockId block : ledger.Table(unread->id())) {
        if (++blocks.num_holders[block] == ledger.num_holders(block)) ++blocks.num_alone;
      }
    }
  }
  const std::vector<uint32_t>& num_holders = suspended_blocks_->num_holders;
  const auto num_shared =
      std::count_if(prefix.blocks.begin(), prefix.blocks.end(), [&](BlockId block) {
        return num_holders[block] > 0 && num_holders[block] == ledger.num_holders(block);
      });
  return suspended_blocks_->num_alone - static_cast<uint64_t>(num_shared);
}

void BatchBuilder::Preempt(Sequence* sequence) {
  state_.preempt(sequence);
  suspended_blocks_.reset();
}

uint32_t BatchBuilder::NumReserved(const Sequence& sequence) const {
  // Where nothing runs, nothing will become free.
  if (state_.running->empty()) return 0;
  // What is owed to one that is overdue closes the claims of newcomers: their blocks would be kept
  // from all.
  const bool leaves_some = limits_.short_seconds > 0 &&
                           state_.waiting->KeyOf(sequence).floods != Flooded::kNothing &&
                           !IsOwedBlocks(sequence);
  return limits_.num_reserved_blocks + (leaves_some ? limits_.num_newcomer_blocks : 0);
}

bool BatchBuilder::CanTell(const Sequence& sequence) const {
  return told_bytes_ == 0 || told_bytes_ + sequence.told_bytes() <= limits_.max_told_bytes;
}

void BatchBuilder::Place(Sequence* sequence, const CachedPrefix& prefix) {
  const std::optional<std::vector<BlockId>> blocks =
      state_.ledger->Begin(sequence->id(), prefix, sequence->num_tokens());
  BATON_CHECK(blocks.has_value()) << "sequence " << sequence->id() << " fits but does not";
  const uint32_t num_cached =
      static_cast<uint32_t>(prefix.blocks.size()) * state_.ledger->block_tokens();
  if (prefix.num_free < prefix.blocks.size()) suspended_blocks_.reset();
  state_.waiting->Take(sequence, num_cached);
  sequence->set_state(Sequence::State::kRunning);
  state_.running->insert(sequence);
  if (!sequence->has_begun()) CountLookup(*sequence, num_cached);
  sequence->Begin(num_cached, step_id_);
}

void BatchBuilder::CountLookup(const Sequence& sequence, uint32_t num_cached) {
  if (!sequence.reads_cache() || !state_.ledger->finds_blocks()) return;
  state_.lookups->num_query_tokens += sequence.num_tokens();
  state_.lookups->num_hit_tokens += num_cached;
}

std::optional<std::vector<BlockId>> BatchBuilder::FindBlocks(Sequence* sequence) {
  const uint64_t num_tokens = uint64_t{sequence->num_scheduled()} + 1;
  while (true) {
    std::optional<std::vector<BlockId>> blocks = state_.ledger->Grow(sequence->id(), num_tokens);
    if (blocks.has_value()) return blocks;
    Sequence* victim = PickVictim(
        {.running = *state_.running, .paused = *state_.paused, .suspended = *state_.suspended},
        *sequence);
    if (victim == nullptr) return std::nullopt;
    Preempt(victim);
    preempted_ = true;
  }
}

void BatchBuilder::AddRow(Sequence* sequence, uint32_t num_tokens,
                          std::vector<BlockId> new_blocks) {
  BatchRow row;
  row.id = sequence->id();
  row.begins = sequence->num_told() == 0;
  row.begin = sequence->num_scheduled();
  row.num_tokens = num_tokens;
  row.sample = num_tokens == sequence->num_to_compute();
  row.num_expanded = sequence->num_expanded();
  row.new_blocks = std::move(new_blocks);
  if (row.begins) {
    told_bytes_ += sequence->told_bytes();
  } else {
    row.appended.assign(sequence->tokens().begin() + sequence->num_told(),
                        sequence->tokens().end());
  }
  AddWork(row, &work_);
  sequence->Advance(num_tokens, step_id_);
  state_.ledger->Record(sequence);
  budget_ -= row.num_tokens;
  rows_.push_back(std::move(row));
}

void BatchBuilder::AddPendingRow(Sequence* sequence, std::vector<BlockId> new_blocks) {
  BatchRow row;
  row.id = sequence->id();
  row.begin = sequence->num_scheduled();
  row.num_tokens = 1;
  row.sample = true;
  row.num_expanded = sequence->num_expanded();
  row.feedback_step = sequence->feedback_step();
  row.new_blocks = std::move(new_blocks);
  AddWork(row, &work_);
  sequence->AdvancePending(step_id_);
  state_.ledger->Record(sequence);
  --budget_;
  rows_.push_back(std::move(row));
}

}  // namespace baton::scheduler
