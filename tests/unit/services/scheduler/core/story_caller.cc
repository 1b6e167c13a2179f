#include "tests/unit/services/scheduler/core/story_caller.h"

#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/core/story_draws.h"

namespace baton::scheduler {

void StoryCaller::End(const Ending& ending, TimeUs now, uint32_t max_len) {
  ended = true;
  if (ending.cause == FinishCause::kExpired) {
    ASSERT_LE(deadline, now);
    return;
  }
  if (ending.cause == FinishCause::kRefused) {
    ASSERT_FALSE(began);
    return;
  }
  // The story knows which may.
  if (ending.cause == FinishCause::kFailed || ending.cause == FinishCause::kNotCarried) return;
  const size_t generated = tokens.size() - num_prompt;
  const bool by_length = generated == max_tokens || tokens.size() == max_len;
  const bool by_eos = generated > 0 && tokens.back() == StoryDraws::kEos;
  ASSERT_EQ(ending.cause, by_eos ? FinishCause::kStop : FinishCause::kLength);
  ASSERT_TRUE(by_eos || by_length) << "ends after " << generated;
}

}  // namespace baton::scheduler
