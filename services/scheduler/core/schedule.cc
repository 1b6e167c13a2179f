#include "services/scheduler/core/schedule.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/log/check.h"
#include "common/status/status_macros.h"
#include "services/scheduler/core/finish_rule.h"

namespace baton::scheduler {
namespace {

// Losses of a stage, in a row, that a sequence was part of. From here on it is a suspect: it runs
// alone, and fails if a stage is lost while it does.
constexpr uint32_t kLossesToSuspect = 2;
// Cut links likewise, which are seldom a sequence's doing: a link may pass what is small and drop
// what is large, or its other end may refuse the same frame each time.
constexpr uint32_t kCutLinksToSuspect = 5;

bool IsSuspect(const Sequence& sequence) {
  return sequence.num_losses() >= kLossesToSuspect ||
         sequence.num_cut_links() >= kCutLinksToSuspect;
}

// Chunks are not cut below this part of a step, nor below kLeastChunk, to save time: each pays for
// the weights anew.
constexpr uint32_t kChunkParts = 8;
constexpr uint32_t kLeastChunk = 64;

// How `sequence`, which was in flight alone, ends because the epoch did; nullopt: it does not.
std::optional<Ending> EndingByLoss(const Sequence& sequence, EpochEnd why) {
  if (why == EpochEnd::kLinkCut && sequence.num_cut_links() > kCutLinksToSuspect) {
    return Ending{.cause = FinishCause::kNotCarried,
                  .message = absl::StrCat(
                      "the link between the stages does not carry the steps of this request: it "
                      "was cut ",
                      sequence.num_cut_links(),
                      " times in a row, at last with this request alone; try again later")};
  }
  if (why == EpochEnd::kStageLost && sequence.num_losses() >= kLossesToSuspect) {
    return Ending{.cause = FinishCause::kFailed,
                  .message = absl::StrCat("the group lost a stage ", sequence.num_losses(),
                                          " times in a row while it computed this request, at last "
                                          "this request alone; it is not tried again")};
  }
  return std::nullopt;
}

}  // namespace

Schedule::Schedule(ScheduleOptions options)
    : options_(std::move(options)),
      cost_(options_.step_cost),
      waiting_({.max_sequences = options_.max_waiting,
                .max_tokens = options_.max_waiting_tokens,
                .aging = options_.priority_aging}) {
  BATON_CHECK(options_.max_step_tokens > 0 && options_.max_running > 0 &&
              options_.max_steps_in_flight > 0 && options_.max_model_len > 1)
      << "empty limits";
}

absl::Status Schedule::CheckRequest(const SequenceRequest& request) const {
  if (request.prompt.empty()) return absl::InvalidArgumentError("the prompt has no tokens");
  if (request.prompt.size() + 1 > max_sequence_tokens()) {
    const bool by_cache = max_sequence_tokens() < options_.max_model_len;
    return absl::InvalidArgumentError(absl::StrCat(
        "the prompt has ", request.prompt.size(), " tokens; with one token of answer, ",
        by_cache ? "the KV cache holds at most " : "the model takes at most ",
        max_sequence_tokens()));
  }
  if (request.stop.max_tokens == 0) return absl::InvalidArgumentError("max_tokens is 0");
  for (const std::vector<TokenId>* tokens : {&request.prompt, &request.resumed}) {
    for (TokenId token : *tokens) {
      if (token < options_.vocab_size) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          "token ", token, " is outside the vocabulary of ", options_.vocab_size, " tokens"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<Ending>> Schedule::Add(SequenceRequest request, TimeUs now,
                                                    Admission* admission) {
  RETURN_IF_ERROR(CheckRequest(request));
  if (request.deadline <= now) return absl::DeadlineExceededError("the deadline has passed");
  const SequenceId id = request.id;
  waiting_.AdvanceTo(now);
  const Verdict verdict = JudgeNewcomer(request, rate_.ExpectedAnswer(request.stop.max_tokens),
                                        waiting_, rate_, options_.max_wait, now);
  auto sequence = std::make_unique<Sequence>(std::move(request), num_arrivals_);
  SetForm(sequence.get());
  std::optional<Ending> ending = EndingOf(*sequence, options_.eos_token_ids, max_sequence_tokens());
  if (ending.has_value()) return ending;
  if (verdict.refusal.has_value()) {
    if (admission != nullptr) admission->refusal = verdict.refusal;
    return absl::ResourceExhaustedError(verdict.refusal->message);
  }
  Displace(verdict.leaving, admission);
  ++num_arrivals_;
  const auto [entry, is_new] = sequences_.emplace(id, std::move(sequence));
  BATON_CHECK(is_new) << "sequence " << id << " is live already";
  Enqueue(entry->second.get());
  NoteNewcomer(entry->second.get(), now);
  if (entry->second->deadline() != kNever) deadlines_.insert({entry->second->deadline(), id});
  return std::optional<Ending>();
}

void Schedule::Enqueue(Sequence* sequence) {
  const uint32_t expected = rate_.ExpectedAnswer(sequence->stop().max_tokens);
  const uint32_t generated = sequence->num_generated();
  waiting_.Push(sequence, expected > generated ? expected - generated : 1);
}

void Schedule::Displace(const std::vector<Sequence*>& leaving, Admission* admission) {
  for (Sequence* sequence : leaving) {
    if (admission != nullptr) {
      admission->displaced.push_back(
          {.id = sequence->id(),
           .ending = Ending{.cause = FinishCause::kRefused,
                            .message = "the queue is full and made room for another key, of which "
                                       "less waits; try again later"}});
    }
    End(sequence);
  }
}

std::vector<SequenceNews> Schedule::Expire(TimeUs now) {
  std::vector<SequenceNews> news;
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const SequenceId id = deadlines_.begin()->second;
    news.push_back({.id = id, .ending = Ending{.cause = FinishCause::kExpired}});
    End(sequences_.at(id).get());
  }
  return news;
}

bool Schedule::Cancel(SequenceId id) {
  const auto found = sequences_.find(id);
  if (found == sequences_.end()) return false;
  if (found->second->state() == Sequence::State::kEnding) return false;
  End(found->second.get());
  return true;
}

void Schedule::SetForm(Sequence* sequence) const {
  const uint32_t num_prompt_tokens = sequence->num_prompt_tokens();
  const uint32_t in_blocks = num_prompt_tokens - num_prompt_tokens % options_.block_tokens;
  sequence->SetNumExpanded(expands_prompts_ ? std::optional(in_blocks) : std::nullopt);
}

std::vector<SequenceNews> Schedule::OpenEpoch(uint32_t num_blocks, bool expands_prompts) {
  BATON_CHECK(!ledger_.has_value()) << "an epoch is open";
  if (std::exchange(expands_prompts_, expands_prompts) != expands_prompts) {
    for (const auto& [id, sequence] : sequences_) SetForm(sequence.get());
  }
  std::optional<BlockHasher> hasher;
  if (options_.prefix_caching) hasher.emplace(options_.block_tokens, options_.cache_secret);
  ledger_.emplace(num_blocks, options_.block_tokens, std::move(hasher));
  last_step_id_ = 0;
  last_stage_step_ = 0;
  work_waited_ = false;
  std::vector<SequenceNews> news;
  for (SequenceId id : LiveIds()) {
    const Sequence& sequence = *sequences_.at(id);
    if (sequence.num_tokens() < max_sequence_tokens()) continue;
    Ending ending{FinishCause::kLength};
    if (sequence.num_generated() == 0) {
      ending.cause = FinishCause::kInvalid;
      ending.message = absl::StrCat("the prompt has ", sequence.num_tokens(),
                                    " tokens; the KV cache of the group holds at most ",
                                    max_sequence_tokens(), " with the answer");
    }
    news.push_back({.id = id, .ending = std::move(ending)});
    Cancel(id);
  }
  return news;
}

std::vector<SequenceNews> Schedule::CloseEpoch(EpochEnd why) {
  if (!ledger_.has_value()) return {};
  steps_.clear();
  forgotten_.clear();
  num_evicted_blocks_ += ledger_->num_evicted();
  ledger_.reset();
  std::vector<SequenceNews> news;
  const bool was_alone = 1 == std::count_if(sequences_.begin(), sequences_.end(), [](auto& entry) {
                           return entry.second->num_steps_in_flight() > 0;
                         });
  for (RunningSet* set : {&paused_, &suspended_}) running_.merge(*set);
  for (Sequence* sequence : running_) {
    const bool may_be_cause = sequence->num_steps_in_flight() > 0;
    if (may_be_cause && why == EpochEnd::kStageLost) sequence->CountLoss();
    if (may_be_cause && why == EpochEnd::kLinkCut) sequence->CountCutLink();
    may_have_suspects_ |= IsSuspect(*sequence);
    StartOver(sequence);
    if (!may_be_cause || !was_alone) continue;
    std::optional<Ending> ending = EndingByLoss(*sequence, why);
    if (ending.has_value()) news.push_back({.id = sequence->id(), .ending = std::move(ending)});
  }
  running_.clear();
  for (const SequenceNews& item : news) Cancel(item.id);
  std::erase_if(sequences_, [](const auto& entry) {
    return entry.second->state() == Sequence::State::kEnding;
  });
  return news;
}

Sequence* Schedule::Suspect() {
  if (!may_have_suspects_) return nullptr;  // most of the time; else all that wait are looked at
  const auto is_suspect = [](const Sequence* sequence) { return IsSuspect(*sequence); };
  const auto running = std::find_if(running_.begin(), running_.end(), is_suspect);
  Sequence* const suspect =
      running != running_.end() ? *running : waiting_.FindReturned(is_suspect);
  may_have_suspects_ = suspect != nullptr;
  return suspect;
}

size_t Schedule::num_suspects() const {
  return static_cast<size_t>(
      std::count_if(sequences_.begin(), sequences_.end(),
                    [](const auto& entry) { return IsSuspect(*entry.second); }));
}

std::vector<BatchRow> Schedule::BuildRows(StepId step_id) {
  Sequence* const suspect = Suspect();
  if (suspect != nullptr && suspect->state() == Sequence::State::kWaiting) {
    // What ran alone before it, and proved to be harmless, makes way.
    if (!steps_.empty()) return {};
    PreemptAll();
  }
  const uint32_t num_busy = std::min(num_steps_in_flight(), options_.max_steps_in_flight - 1);
  const FeedbackLimits feedback{.last_step = LookaheadSteps() > 0 ? last_stage_step_ : 0,
                                .max_len = max_sequence_tokens()};
  const BatchLimits limits{
      .max_tokens = options_.max_step_tokens,
      .max_running = options_.max_running,
      .num_steps = options_.max_steps_in_flight,
      .num_free_steps = options_.max_steps_in_flight - num_busy,
      .num_reserved_blocks = static_cast<uint32_t>(options_.watermark * ledger_->num_blocks()),
      .max_len = max_sequence_tokens(),
      .feedback = feedback,
      .max_chunk = options_.max_chunk_tokens,
      .min_chunk = std::max(options_.max_step_tokens / kChunkParts, kLeastChunk),
      .max_seconds = options_.max_step_seconds,
      .short_seconds = ShortStepSeconds(),
      .owed_seconds = owed_seconds_,
      .num_newcomer_blocks = NewcomerBlocks()};
  BatchBuilder builder(limits, {.running = &running_,
                                .paused = &paused_,
                                .suspended = &suspended_,
                                .waiting = &waiting_,
                                .ledger = &*ledger_,
                                .lookups = &prefix_lookups_,
                                .num_pauses = &num_pauses_,
                                .cost = &cost_,
                                .preempt = [this](Sequence* sequence) { Preempt(sequence); },
                                .may_begin =
                                    [this](const Sequence& sequence) {
                                      return std::find(forgotten_.begin(), forgotten_.end(),
                                                       sequence.id()) == forgotten_.end();
                                    }});
  std::vector<BatchRow> rows =
      suspect != nullptr ? builder.BuildAlone(suspect, step_id) : builder.Build(step_id);
  owed_seconds_ = builder.owed_seconds();
  return rows;
}

std::optional<Batch> Schedule::NextBatch(TimeUs now) {
  waiting_.AdvanceTo(now);
  LookForOthers(now);
  const uint64_t max_steps = uint64_t{options_.max_steps_in_flight} + LookaheadSteps();
  if (!ledger_.has_value() || steps_.size() >= max_steps) return std::nullopt;
  // Whoever comes next is not to stand behind more than the step that the first stage is at.
  if (others_may_come() && !FirstStageIsFree()) return std::nullopt;
  Batch batch;
  batch.step_id = last_step_id_ + 1;
  batch.rows = BuildRows(batch.step_id);
  const bool release_due = !forgotten_.empty() && steps_.empty();
  if (batch.rows.empty() && !release_due) return std::nullopt;
  batch.finished = std::exchange(forgotten_, {});
  last_step_id_ = batch.step_id;
  batch.work_waited = work_waited_;
  work_waited_ |= !batch.rows.empty();
  steps_.push_back(Describe(batch, now));
  AddTimes(batch, steps_.back().work);
  if (others_may_come()) ++num_short_steps_[static_cast<size_t>(flooded_) - 1];
  return batch;
}

Schedule::StepInFlight Schedule::Describe(const Batch& batch, TimeUs now) const {
  StepInFlight step{.id = batch.step_id, .sent = now};
  for (const BatchRow& row : batch.rows) {
    const uint32_t num_known = row.num_tokens - static_cast<uint32_t>(row.drafts.size());
    step.rows.push_back({row.id, row.sample, row.begin + num_known, row.drafts});
    AddWork(row, &step.work);
    const bool generated = row.feedback_step > 0 || sequences_.at(row.id)->num_generated() > 0;
    if (num_known == 1 && !row.begins && generated) {
      ++step.num_decodes;
    } else {
      step.num_prompt_tokens += row.num_tokens;
    }
  }
  return step;
}

void Schedule::LeaveStages(Sequence* sequence) {
  ledger_->Record(sequence);  // the last token of a block may have become known since its step
  ledger_->Release(sequence->id());
  if (sequence->num_told() > 0) forgotten_.push_back(sequence->id());
}

void Schedule::PreemptAll() {
  for (RunningSet* set : {&running_, &paused_, &suspended_}) {
    while (!set->empty()) Preempt(*set->begin());
  }
}

void Schedule::Preempt(Sequence* sequence) {
  for (RunningSet* set : {&running_, &paused_, &suspended_}) set->erase(sequence);
  LeaveStages(sequence);
  StartOver(sequence);
  ++num_preemptions_;
}

void Schedule::StartOver(Sequence* sequence) {
  sequence->Restart();
  if (sequence->state() == Sequence::State::kSuspended) {
    waiting_.LoseBlocks(sequence);
  } else {
    Enqueue(sequence);
  }
}

void Schedule::Suspend(SequenceId id) {
  const auto found = sequences_.find(id);
  if (found == sequences_.end()) return;
  Sequence* const sequence = found->second.get();
  if (sequence->state() == Sequence::State::kSuspended ||
      sequence->state() == Sequence::State::kEnding) {
    return;
  }
  if (sequence->state() == Sequence::State::kWaiting) {
    waiting_.Remove(sequence);
  } else {
    running_.erase(sequence);
    paused_.erase(sequence);
    suspended_.insert(sequence);
  }
  waiting_.Suspend(sequence);
  sequence->set_state(Sequence::State::kSuspended);
  ++num_suspended_;
  ++num_suspensions_;
  NoteIdleness();
}

void Schedule::Continue(SequenceId id) {
  const auto found = sequences_.find(id);
  if (found == sequences_.end()) return;
  Sequence* const sequence = found->second.get();
  if (sequence->state() != Sequence::State::kSuspended) return;
  --num_suspended_;
  waiting_.Continue(sequence);
  may_have_suspects_ |= IsSuspect(*sequence);
  if (suspended_.erase(sequence) == 0) return Enqueue(sequence);
  paused_.insert(sequence);
  sequence->set_state(Sequence::State::kPaused);
}

void Schedule::NoteIdleness() {
  // Steps in flight may be of those that have ended alone.
  if (running_.empty() && paused_.empty() && waiting_.empty()) work_waited_ = false;
}

void Schedule::End(Sequence* sequence) {
  if (sequence->deadline() != kNever) deadlines_.erase({sequence->deadline(), sequence->id()});
  if (sequence->num_generated() > 0) rate_.AddAnswer(sequence->num_generated());
  if (sequence->state() == Sequence::State::kSuspended) --num_suspended_;
  if (sequence->state() == Sequence::State::kWaiting) waiting_.Remove(sequence);
  waiting_.Leave(sequence);
  size_t num_sets = 0;
  for (RunningSet* set : {&running_, &paused_, &suspended_}) num_sets += set->erase(sequence);
  NoteIdleness();
  if (num_sets == 0) {  // it holds no blocks
    sequences_.erase(sequence->id());
    return;
  }
  sequence->set_state(Sequence::State::kEnding);
  if (sequence->num_steps_in_flight() > 0) return;
  LeaveStages(sequence);
  sequences_.erase(sequence->id());
}

}  // namespace baton::scheduler
