#include "services/stage_worker/kv_cache/step_checks.h"

#include <functional>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::stage {
namespace {

constexpr SequenceLimits kLimits{100, 50, 20, 2};

StepWork GoodStep() {
  StepWork work;
  work.step_id = 1;
  work.new_sequences.push_back({7, {1, 2, 3}, 3, {}});
  work.chunks.push_back({7, 0, 3, {}, {0}, true});
  return work;
}

struct BadStep {
  const char* message;
  std::function<void(StepWork&)> spoil;
};

TEST(CheckStep, TakesAGoodStep) { EXPECT_TRUE(CheckStep(GoodStep(), kLimits, 4).ok()); }

TEST(CheckStep, TakesAStepWithoutWork) { EXPECT_TRUE(CheckStep({}, kLimits, 4).ok()); }

TEST(CheckStep, NamesWhatIsWrong) {
  const BadStep bad_steps[] = {
      {"token outside vocabulary: 100", [](StepWork& w) { w.new_sequences[0].token_ids[1] = 100; }},
      {"token outside vocabulary: 200",
       [](StepWork& w) { w.chunks[0].appended_token_ids = {200}; }},
      {"num_prompt_tokens is 0", [](StepWork& w) { w.new_sequences[0].num_prompt_tokens = 0; }},
      {"num_prompt_tokens is 4", [](StepWork& w) { w.new_sequences[0].num_prompt_tokens = 4; }},
      {"num_cached_tokens is 1", [](StepWork& w) { w.new_sequences[0].num_cached_tokens = 1; }},
      {"num_cached_tokens is 64", [](StepWork& w) { w.new_sequences[0].num_cached_tokens = 64; }},
      {"max_model_len", [](StepWork& w) { w.new_sequences[0].token_ids.resize(51); }},
      {"without tokens", [](StepWork& w) { w.chunks[0].num_tokens = 0; }},
      {"block out of range: 4", [](StepWork& w) { w.chunks[0].new_block_ids = {4}; }},
      {"new twice", [](StepWork& w) { w.new_sequences.push_back(w.new_sequences[0]); }},
      {"two chunks", [](StepWork& w) { w.chunks.push_back(w.chunks[0]); }},
      {"finished twice",
       [](StepWork& w) {
         w.finished_sequence_ids = {3, 3};
       }},
      {"21 tokens, at most 20", [](StepWork& w) { w.chunks[0].num_tokens = 21; }},
      {"3 sequences, at most 2", [](StepWork& w) { w.chunks.resize(3); }},
      {"logit_bias",
       [](StepWork& w) {
         w.new_sequences[0].sampling.logit_bias = {{100, 1.0f}};
       }},
      {"token outside vocabulary: 101",
       [](StepWork& w) { w.new_sequences[0].sampling.allowed_token_ids = {101}; }},
      {"token outside vocabulary: 102",
       [](StepWork& w) { w.new_sequences[0].sampling.masked_token_ids = {102}; }},
      {"token outside vocabulary: 103",
       [](StepWork& w) {
         w.new_sequences[0].sampling.banned_sequences = {{1}, {2, 103}};
       }},
      {"token outside vocabulary: 104",
       [](StepWork& w) {
         w.new_sequences[0].sampling.reasoning_budget = {3, 104, 1};
       }},
      {"token outside vocabulary: 105",
       [](StepWork& w) {
         w.new_sequences[0].sampling.reasoning_budget = {3, 1, 105};
       }},
      {"leave no token",
       [](StepWork& w) {
         w.new_sequences[0].sampling.allowed_token_ids = {4, 5};
         w.new_sequences[0].sampling.masked_token_ids = {5, 4};
       }},
      {"leave no token",
       [](StepWork& w) {
         for (uint32_t id = 0; id < kLimits.vocab_size; ++id) {
           w.new_sequences[0].sampling.masked_token_ids.push_back(id);
         }
       }},
  };
  for (const BadStep& bad : bad_steps) {
    StepWork work = GoodStep();
    bad.spoil(work);
    const absl::Status status = CheckStep(work, kLimits, 4);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad.message;
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(bad.message));
  }
}

}  // namespace
}  // namespace baton::stage
