#include "tools/bench_serve/answer_timer.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::bench {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr double kNear = 1e-9;

class AnswerTimerTest : public testing::Test {
 protected:
  AnswerTimerTest() { record_.start = 10; }

  RequestRecord record_;
  AnswerTimer timer_{&record_};
};

TEST_F(AnswerTimerTest, TimesTheChunksOfACompletion) {
  timer_.OnEvent(10.5, R"({"choices": [{"text": "a", "finish_reason": null}]})");
  timer_.OnEvent(10.7, R"({"choices": [{"text": "b", "finish_reason": null}]})");
  timer_.OnEvent(11.0, R"({"choices": [{"text": "", "finish_reason": "length"}]})");
  timer_.OnEvent(11.5, R"({"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 3}})");
  timer_.OnEvent(11.6, "[DONE]");
  timer_.OnEnd();
  EXPECT_TRUE(record_.success);
  EXPECT_NEAR(record_.ttft, 0.5, kNear);
  EXPECT_NEAR(record_.latency, 1.0, kNear);
  EXPECT_THAT(record_.itls, ElementsAre(DoubleNear(0.2, kNear), DoubleNear(0.3, kNear)));
  EXPECT_EQ(record_.num_output_tokens, 3);
  EXPECT_EQ(record_.num_prompt_tokens, 4);
  EXPECT_EQ(record_.text, "ab");
}

TEST_F(AnswerTimerTest, TakesTheRoleOfAChatForItsFirstToken) {
  timer_.OnEvent(10.5, R"({"choices": [{"delta": {"role": "assistant", "content": ""}}]})");
  timer_.OnEvent(10.7, R"({"choices": [{"delta": {"reasoning_content": "hm"}}]})");
  timer_.OnEvent(10.8, R"({"choices": [{"delta": {"content": "x"}}]})");
  timer_.OnEvent(10.9, "[DONE]");
  timer_.OnEnd();
  EXPECT_TRUE(record_.success);
  EXPECT_NEAR(record_.ttft, 0.5, kNear);
}

// Servers say it under one of two names, or under both.
TEST_F(AnswerTimerTest, KeepsReasoningApartFromText) {
  timer_.OnEvent(1, R"({"choices": [{"delta": {"reasoning_content": "h", "reasoning": "h"}}]})");
  timer_.OnEvent(2, R"({"choices": [{"delta": {"reasoning": "m"}}]})");
  timer_.OnEvent(3, R"({"choices": [{"delta": {"content": "x"}}]})");
  EXPECT_EQ(record_.reasoning, "hm");
  EXPECT_EQ(record_.text, "x");
}

TEST_F(AnswerTimerTest, TakesUsageFromAnyChunk) {
  timer_.OnEvent(10.5, R"({"choices": [{"text": "a"}], "usage": {"completion_tokens": 1}})");
  EXPECT_EQ(record_.num_output_tokens, 1);
}

// A chat's template adds tokens to what was drawn.
TEST_F(AnswerTimerTest, TakesThePromptLengthThatTheServerCounts) {
  record_.num_prompt_tokens = 9;
  timer_.OnEvent(11, R"({"choices": [], "usage": {"completion_tokens": 3}})");
  EXPECT_EQ(record_.num_prompt_tokens, 9);
  timer_.OnEvent(11, R"({"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 3}})");
  EXPECT_EQ(record_.num_prompt_tokens, 10);
}

TEST_F(AnswerTimerTest, FailsByAnErrorEvent) {
  timer_.OnEvent(10.5, R"({"choices": [{"text": "a"}]})");
  timer_.OnEvent(10.6, R"({"error": {"message": "a stage is lost"}})");
  timer_.OnEvent(10.7, "[DONE]");
  timer_.OnEnd();
  EXPECT_FALSE(record_.success);
  EXPECT_EQ(record_.error, "a stage is lost");
}

TEST_F(AnswerTimerTest, FailsWithoutChunksOrEnd) {
  timer_.OnEvent(10.6, "[DONE]");
  timer_.OnEnd();
  EXPECT_FALSE(record_.success);
  EXPECT_THAT(record_.error, HasSubstr("no chunk"));

  RequestRecord cut;
  AnswerTimer timer(&cut);
  timer.OnEvent(1, R"({"choices": [{"text": "a"}]})");
  timer.OnEnd();
  EXPECT_FALSE(cut.success);
  EXPECT_THAT(cut.error, HasSubstr("[DONE]"));
}

TEST_F(AnswerTimerTest, FailsByWhatIsNoChunk) {
  timer_.OnEvent(10.6, "<html>");
  timer_.OnEnd();
  EXPECT_THAT(record_.error, HasSubstr("<html>"));
}

}  // namespace
}  // namespace baton::bench
