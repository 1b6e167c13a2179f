// How fast the group works, learned from its steps, and how long given work will take it.
#pragma once

#include <cstdint>

#include "services/scheduler/core/core_time.h"

namespace baton::scheduler {

// Tokens to compute.
struct Work {
  double prompt_tokens = 0;
  double answer_tokens = 0;  // expected

  double tokens() const { return prompt_tokens + answer_tokens; }
  Work& operator+=(const Work& other) {
    prompt_tokens += other.prompt_tokens;
    answer_tokens += other.answer_tokens;
    return *this;
  }
  Work& operator-=(const Work& other) {
    prompt_tokens -= other.prompt_tokens;
    answer_tokens -= other.answer_tokens;
    return *this;
  }
  friend Work operator*(Work work, double share) {
    return {work.prompt_tokens * share, work.answer_tokens * share};
  }
};

// A step's time is that of a step which only decodes, plus so much for each token of prompts. Both
// are averages in which a step counts half as much after 32 others, so that they follow the load;
// the time of a prompt's token stays as it was while no prompt is computed.
class ServiceRate final {
 public:
  // A step is done; `busy` is the time since the step before it was, or since it was sent if the
  // group was idle. No effect if `busy` is not positive.
  void AddStep(uint32_t num_prompt_tokens, uint32_t num_decodes, TimeUs busy);
  // A sequence ended after so many tokens of answer.
  void AddAnswer(uint32_t num_tokens);

  // Tokens of answer to expect of a sequence that may have `max_tokens`.
  uint32_t ExpectedAnswer(uint32_t max_tokens) const;
  // How long `work` takes when nothing else is done; 0 while few steps were seen, for the first
  // ones are slower than those that follow.
  TimeUs TimeFor(const Work& work) const;

 private:
  uint32_t num_steps_ = 0;   // up to those that are needed
  double decode_steps_ = 0;  // steps that only decoded, each weighted by its age; so are all below
  double decode_us_ = 0;     // their time
  double row_steps_ = 0;     // steps that decoded, with or without prompts
  double rows_ = 0;          // sequences that decoded in them
  double prompt_tokens_ = 0;
  double prompt_us_ = 0;
  double answers_ = 0;
  double answer_tokens_ = 0;
};

}  // namespace baton::scheduler
