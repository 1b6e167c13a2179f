// The part of BatchBuilder that keeps steps short, where a newcomer of a key that does not flood
// may come: what keys over their share have in them can wait.
#include <algorithm>
#include <optional>

#include "services/scheduler/core/batch_builder.h"
#include "services/scheduler/core/prefill_policy.h"

namespace baton::scheduler {
namespace {

// What can wait makes a step longer by this part of what cannot, if that takes long.
constexpr double kLonger = 0.125;
// The first step of a prompt that cannot wait: only by what costs next to nothing beside it.
constexpr double kFirstLonger = 1.0 / 64;
// Where prompts are expanded, chunks of this many times the tokens that take as long as the keys
// and values of what stands before them: a third of their time is for these.
constexpr double kExpansions = 2;
// A prompt is left out of fewer steps in a row than this for its chunk being too short, if it would
// get all that there is for prompts like it: no more is to be expected.
constexpr StepId kMostLeftOut = 8;

}  // namespace

size_t BatchBuilder::MoveUrgentFirst(size_t share, std::vector<Sequence*>* decodes) const {
  if (limits_.short_seconds <= 0) return 0;
  const auto end = decodes->begin() + static_cast<std::ptrdiff_t>(share);
  const auto urgent_end = std::stable_partition(
      decodes->begin(), end, [this](const Sequence* sequence) { return IsWithinShare(*sequence); });
  return static_cast<size_t>(urgent_end - decodes->begin());
}

double BatchBuilder::SecondsWithUrgent(StepWork more) const {
  more.Add(urgent_);
  more.Add(work_);
  return more.tokens > 0 ? state_.cost->Seconds(more) : 0;
}

void BatchBuilder::PlanTime() {
  if (limits_.short_seconds <= 0) return;
  uint32_t budget = budget_;
  uint64_t num_urgent = 0;     // tokens
  bool leaves_tokens = false;  // whatever others take: chunks have a limit of their own
  bool others_wait = NextCanBegin();
  for (const Sequence* sequence : *state_.running) {
    if (!sequence->runnable() || sequence->decoding()) continue;
    if (!IsWithinShare(*sequence)) {
      others_wait = true;
      continue;
    }
    num_urgent += sequence->num_to_compute();
    uint32_t num_tokens = std::min(sequence->num_to_compute(), budget);
    if (limits_.max_chunk > 0 && num_tokens > limits_.max_chunk) {
      num_tokens = limits_.max_chunk;
      leaves_tokens = true;
    }
    if (num_tokens == 0) continue;
    urgent_.Add(sequence->num_scheduled(), num_tokens, num_tokens == sequence->num_to_compute(),
                sequence->num_expanded());
    budget -= num_tokens;
  }
  urgent_seconds_ = SecondsWithUrgent();
  if (urgent_.tokens == 0) {
    most_seconds_ = std::max(limits_.short_seconds, urgent_seconds_ * (1 + kLonger));
  } else {
    other_tokens_ = leaves_tokens ? budget : SpareTokens(num_urgent, budget_);
    most_seconds_ = urgent_seconds_ * (1 + kFirstLonger);
    if (limits_.owed_seconds.has_value()) {
      most_seconds_ = std::max(limits_.short_seconds, urgent_seconds_ + *limits_.owed_seconds);
      if (IsOwedAStep()) other_tokens_ = std::max(other_tokens_, limits_.min_chunk);
    } else {
      others_wait = false;
    }
  }
  // Decodes and prompts that can wait have half each of what the step does not pay anyway: neither
  // keeps the other from going on.
  const double paid = std::max(urgent_seconds_, state_.cost->FixedSeconds());
  const double rest = std::max(0.0, most_seconds_ - paid);
  decode_seconds_ = others_wait ? most_seconds_ - rest / 2 : most_seconds_;
}

bool BatchBuilder::NextCanBegin() {
  Sequence* const next = state_.waiting->Front();
  return next != nullptr && state_.running->size() < limits_.max_running &&
         state_.may_begin(*next) &&
         FitsNow(*next, state_.ledger->FindPrefix(next), *state_.ledger, NumReserved(*next));
}

bool BatchBuilder::HasTimeFor(const Sequence& decode) const {
  if (most_seconds_ <= 0) return true;
  if (other_tokens_ == 0) return false;
  if (!has_other_decode_ && urgent_.tokens == 0) return true;
  StepWork row;
  row.Add(decode.num_scheduled(), 1, true, decode.num_expanded());
  return SecondsWithUrgent(row) <= decode_seconds_;
}

bool BatchBuilder::HasTimeForChunk(const Sequence& prompt) const {
  if (long_enough()) return false;
  if (most_seconds_ <= 0 || urgent_.tokens == 0) return true;
  const uint32_t least = std::min(ShortChunk(prompt), prompt.num_to_compute());
  StepWork with = work_;
  with.Add(prompt.num_scheduled(), least, prompt.num_to_compute() == least, prompt.num_expanded());
  // Behind a long prefix it may take longer than all that is ever owed.
  return state_.cost->Seconds(with) <= most_seconds_ || (prompt.expands_next() && IsOwedAStep());
}

uint32_t BatchBuilder::LeastChunk(const Sequence& prompt) const {
  const double tokens = kExpansions * ExpansionTokens(prompt, *state_.cost);
  return static_cast<uint32_t>(std::min(tokens, limits_.max_tokens / 2.0));
}

bool BatchBuilder::IsTooShort(const Sequence& prompt, uint32_t budget) const {
  uint32_t most = prompt.num_to_compute();
  if (limits_.max_chunk > 0) most = std::min(most, limits_.max_chunk);
  most = std::min(most, part_tokens_ / 2);
  return budget < most && budget < ExpansionTokens(prompt, *state_.cost);
}

bool BatchBuilder::IsLeftOutLong(const Sequence& prompt) const {
  return step_id_ >= std::max(prompt.last_step(), prompt.begin_step()) + kMostLeftOut;
}

uint32_t BatchBuilder::ShortChunk(const Sequence& prompt) const {
  const double tokens = kLonger * ExpansionTokens(prompt, *state_.cost);
  return 1 + static_cast<uint32_t>(std::min(tokens, limits_.max_tokens / 2.0));
}

uint64_t BatchBuilder::NumInTime(uint64_t most, const StepWork& others) const {
  if (most_seconds_ <= 0) return most;
  for (most = std::min<uint64_t>(most, other_tokens_); most > 0; --most) {
    StepWork with = others;
    with.AddGuesses(most);
    if (SecondsWithUrgent(with) <= decode_seconds_) break;
  }
  return most;
}

std::optional<double> BatchBuilder::owed_seconds() const {
  if (urgent_.tokens == 0) return std::nullopt;
  const double others = std::max(0.0, state_.cost->Seconds(work_) - urgent_seconds_);
  const double owed = limits_.owed_seconds.value_or(0) + kLonger * urgent_seconds_ - others;
  // More than one whole step gives no further right, and would be saved up by keys that have little
  // to do: all of it at once would stand before prompts that cannot wait.
  return std::clamp(owed, 0.0, FullStepSeconds());
}

}  // namespace baton::scheduler
