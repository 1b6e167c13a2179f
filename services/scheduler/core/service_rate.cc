#include "services/scheduler/core/service_rate.h"

#include <algorithm>
#include <cmath>

namespace baton::scheduler {
namespace {

// What is left of the weight of a step, or an answer, when the next one comes.
const double kStepDecay = std::exp2(-1.0 / 32);
const double kAnswerDecay = std::exp2(-1.0 / 64);
constexpr uint32_t kStepsToTrust = 16;
// Answers are taken to be this long until some were seen.
constexpr double kFirstAnswer = 128;
constexpr double kFirstAnswerWeight = 4;

}  // namespace

void ServiceRate::AddStep(uint32_t num_prompt_tokens, uint32_t num_decodes, TimeUs busy) {
  if (busy <= 0 || num_prompt_tokens + num_decodes == 0) return;
  const auto time = static_cast<double>(busy);
  num_steps_ = std::min(num_steps_ + 1, kStepsToTrust);
  if (num_decodes > 0) {
    row_steps_ = row_steps_ * kStepDecay + 1;
    rows_ = rows_ * kStepDecay + num_decodes;
  }
  if (num_prompt_tokens == 0) {
    decode_steps_ = decode_steps_ * kStepDecay + 1;
    decode_us_ = decode_us_ * kStepDecay + time;
    return;
  }
  const double decode_part = num_decodes > 0 && decode_steps_ > 0 ? decode_us_ / decode_steps_ : 0;
  prompt_tokens_ = prompt_tokens_ * kStepDecay + num_prompt_tokens;
  prompt_us_ = prompt_us_ * kStepDecay + std::max(0.0, time - decode_part);
}

void ServiceRate::AddAnswer(uint32_t num_tokens) {
  answers_ = answers_ * kAnswerDecay + 1;
  answer_tokens_ = answer_tokens_ * kAnswerDecay + num_tokens;
}

uint32_t ServiceRate::ExpectedAnswer(uint32_t max_tokens) const {
  const double mean =
      (answer_tokens_ + kFirstAnswer * kFirstAnswerWeight) / (answers_ + kFirstAnswerWeight);
  return std::min(max_tokens, static_cast<uint32_t>(std::ceil(mean)));
}

TimeUs ServiceRate::TimeFor(const Work& work) const {
  if (num_steps_ < kStepsToTrust) return 0;
  double time = 0;
  if (prompt_tokens_ > 0) time += work.prompt_tokens * prompt_us_ / prompt_tokens_;
  if (decode_steps_ > 0) {
    const double rows = std::max(1.0, rows_ / row_steps_);
    time += work.answer_tokens / rows * (decode_us_ / decode_steps_);
  }
  return static_cast<TimeUs>(time);
}

}  // namespace baton::scheduler
