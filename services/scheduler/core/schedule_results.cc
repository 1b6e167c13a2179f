// The part of Schedule that takes in what the stages say of a step.
#include <algorithm>
#include <string>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/log/check.h"
#include "common/status/status_macros.h"
#include "services/scheduler/core/finish_rule.h"
#include "services/scheduler/core/schedule.h"

namespace baton::scheduler {
namespace {

// Growth beyond what was expected is charged each time that a sequence has so many tokens more.
constexpr uint32_t kTokensToCharge = 64;

FinishCause CauseOf(const StepResult::Fault& fault) {
  if (fault.caused_by_request) return FinishCause::kInvalid;
  return fault.overloaded ? FinishCause::kOverloaded : FinishCause::kFailed;
}

// One for each sequence: the first that is a stage's; else of the request's own; else of others.
std::unordered_map<SequenceId, const StepResult::Fault*> FaultsOf(const StepResult& result) {
  std::unordered_map<SequenceId, const StepResult::Fault*> faults;
  for (const FinishCause cause :
       {FinishCause::kFailed, FinishCause::kInvalid, FinishCause::kOverloaded}) {
    for (const StepResult::Fault& fault : result.faults) {
      if (CauseOf(fault) == cause) faults.insert({fault.id, &fault});
    }
  }
  return faults;
}

}  // namespace

absl::Status Schedule::CheckResult(const StepInFlight& step, const StepResult& result) const {
  if (result.step_id != step.id) {
    return absl::DataLossError(
        absl::StrCat("report of step ", result.step_id, " while step ", step.id, " is due"));
  }
  size_t next = 0;
  for (const StepRow& row : step.rows) {
    if (row.sample) RETURN_IF_ERROR(CheckTokens(step.id, row, result, &next));
  }
  if (next < result.tokens.size()) {
    return absl::DataLossError(absl::StrCat("step ", step.id, " has a token of sequence ",
                                            result.tokens[next].id, " that it did not ask for"));
  }
  return CheckDrafts(result);
}

absl::Status Schedule::CheckTokens(StepId step, const StepRow& row, const StepResult& result,
                                   size_t* next) const {
  const bool faulty =
      std::any_of(result.faults.begin(), result.faults.end(),
                  [&row](const StepResult::Fault& fault) { return fault.id == row.id; });
  const size_t begin = *next;
  const auto answered = [&] {
    return *next < result.tokens.size() && result.tokens[*next].id == row.id;
  };
  if (!answered() && faulty) return absl::OkStatus();
  if (!answered()) {
    return absl::DataLossError(absl::StrCat("step ", step, " has no token for sequence ", row.id));
  }
  for (; answered(); ++*next) {
    const StepResult::Sampled& sampled = result.tokens[*next];
    const size_t place = *next - begin;
    const bool follows = place == 0 || (place <= row.drafts.size() &&
                                        result.tokens[*next - 1].token == row.drafts[place - 1]);
    if (!follows) {
      return absl::DataLossError(absl::StrCat("step ", step, ": a token of sequence ", row.id,
                                              " at position ", sampled.position,
                                              ", behind one that was not drafted"));
    }
    if (sampled.position != row.position + place) {
      return absl::DataLossError(
          absl::StrCat("step ", step, ": token at position ", sampled.position, " of sequence ",
                       row.id, "; position ", row.position + place, " was to be sampled"));
    }
    if (sampled.token >= options_.vocab_size) {
      return absl::DataLossError(absl::StrCat("step ", step, ": token ", sampled.token,
                                              " is outside the vocabulary of ",
                                              options_.vocab_size));
    }
  }
  return absl::OkStatus();
}

absl::Status Schedule::CheckDrafts(const StepResult& result) const {
  for (const StepResult::Drafts& drafts : result.drafts) {
    const bool in_range =
        drafts.tokens.size() <= options_.num_speculative_tokens &&
        std::all_of(drafts.tokens.begin(), drafts.tokens.end(),
                    [this](TokenId token) { return token < options_.vocab_size; });
    if (in_range) continue;
    return absl::DataLossError(absl::StrCat(
        "step ", result.step_id, " has ", drafts.tokens.size(), " drafts for sequence ", drafts.id,
        "; at most ", options_.num_speculative_tokens, " of the vocabulary were to be made"));
  }
  return absl::OkStatus();
}

void Schedule::CountDrafts(const StepRow& row, size_t num_sampled) {
  if (row.drafts.empty()) return;
  const size_t num_right = num_sampled - 1;
  ++draft_counts_.num_rows;
  draft_counts_.num_tokens += row.drafts.size();
  draft_counts_.num_accepted += num_right;
  draft_counts_.accepted_at.resize(options_.num_speculative_tokens, 0);
  for (size_t i = 0; i < num_right; ++i) ++draft_counts_.accepted_at[i];
}

void Schedule::AppendTokens(Sequence* sequence, std::span<const StepResult::Sampled> tokens,
                            std::vector<SequenceNews>* news) {
  for (const StepResult::Sampled& sampled : tokens) {
    if (&sampled == &tokens.front()) {
      sequence->AppendToken(sampled.token);
    } else {
      sequence->AppendBehindDraft(sampled.token);
    }
    if (sequence->num_tokens() % kTokensToCharge == 0) waiting_.ChargeGrowth(sequence);
    SequenceNews item{.id = sampled.id, .token = sampled.token, .position = sampled.position};
    item.ending = EndingOf(*sequence, options_.eos_token_ids, max_sequence_tokens());
    news->push_back(std::move(item));
    if (news->back().ending.has_value()) return End(sequence);
  }
}

absl::StatusOr<std::vector<SequenceNews>> Schedule::Complete(const StepResult& result, TimeUs now) {
  if (steps_.empty()) {
    return absl::DataLossError(
        absl::StrCat("report of step ", result.step_id, ", but none is in flight"));
  }
  RETURN_IF_ERROR(CheckResult(steps_.front(), result));
  const StepInFlight step = std::move(steps_.front());
  steps_.pop_front();
  const size_t num_asked = static_cast<size_t>(std::count_if(
      step.rows.begin(), step.rows.end(), [](const StepRow& row) { return row.sample; }));
  const size_t num_more = result.tokens.size() - std::min(num_asked, result.tokens.size());
  rate_.AddStep(step.num_prompt_tokens, step.num_decodes + static_cast<uint32_t>(num_more),
                now - std::max(step.sent, last_completion_));
  last_completion_ = now;
  cost_.Observe(step.work, result.stage_seconds);
  const auto faults = FaultsOf(result);

  std::vector<SequenceNews> news;
  std::span<const StepResult::Sampled> tokens = result.tokens;
  for (const StepRow& row : step.rows) {
    size_t num_sampled = 0;
    while (num_sampled < tokens.size() && tokens[num_sampled].id == row.id) ++num_sampled;
    const std::span<const StepResult::Sampled> sampled = tokens.first(num_sampled);
    tokens = tokens.subspan(num_sampled);
    if (num_sampled > 0) CountDrafts(row, num_sampled);
    Sequence* sequence = FinishRow(row);
    if (sequence == nullptr) continue;
    if (const auto found = faults.find(row.id); found != faults.end()) {
      const StepResult::Fault& fault = *found->second;
      const FinishCause cause = CauseOf(fault);
      if (cause == FinishCause::kFailed) ledger_->Distrust(row.id);
      news.push_back({.id = row.id, .ending = Ending{.cause = cause, .message = fault.message}});
      End(sequence);
    } else if (row.sample) {
      AppendTokens(sequence, sampled, &news);
    }
  }
  for (const StepResult::Drafts& drafts : result.drafts) {
    const auto found = sequences_.find(drafts.id);
    if (found != sequences_.end()) found->second->SetDrafts(drafts.tokens);
  }
  NoteIdleness();
  return news;
}

Sequence* Schedule::FinishRow(const StepRow& row) {
  const auto found = sequences_.find(row.id);
  BATON_CHECK(found != sequences_.end()) << "sequence " << row.id << " left with a step in flight";
  Sequence* sequence = found->second.get();
  sequence->FinishStep();
  if (sequence->state() != Sequence::State::kEnding) return sequence;
  if (sequence->num_steps_in_flight() == 0) {
    LeaveStages(sequence);
    sequences_.erase(found);
  }
  return nullptr;
}

}  // namespace baton::scheduler
