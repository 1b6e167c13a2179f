#include "services/scheduler/pipeline/step_encoding.h"

#include <set>

#include "gtest/gtest.h"

#include "common/rpc/connection_limits.h"
#include "services/scheduler/pipeline/live_request.h"

namespace baton::scheduler {
namespace {

constexpr uint32_t kVocabSize = 129280;
constexpr uint32_t kNumSequences = 256;

v1::SubmitRequest MakeRequest(uint32_t num_tokens) {
  v1::SubmitRequest request;
  for (uint32_t i = 0; i < num_tokens; ++i) request.add_prompt_token_ids(kVocabSize - 1 - i % 1000);
  request.mutable_stop()->set_max_tokens(1000);
  return request;
}

// Adds kNumSequences times `request`, lets every one of them begin, and checks every command on the
// way. How many began in the first step.
size_t BeginAll(const v1::SubmitRequest& request) {
  const auto num_tokens = static_cast<uint32_t>(request.prompt_token_ids_size());
  ScheduleOptions options;
  options.max_step_tokens = kNumSequences * (num_tokens + 1);
  options.max_running = kNumSequences;
  options.max_model_len = num_tokens + 2000;
  options.vocab_size = kVocabSize;
  Schedule schedule(options);
  schedule.OpenEpoch(kNumSequences * (options.max_model_len / options.block_tokens + 1));
  for (SequenceId id = 1; id <= kNumSequences; ++id) {
    EXPECT_TRUE(schedule.Add(MakeSequenceRequest(id, request)).ok());
  }
  std::set<SequenceId> begun;
  size_t num_first = 0;
  while (begun.size() < kNumSequences) {
    const std::optional<Batch> batch = schedule.NextBatch();
    const v1::StepCommand command = EncodeStep(
        *batch, 1, schedule,
        [&request](SequenceId) -> const v1::SamplingParams& { return request.sampling(); });
    EXPECT_LE(command.ByteSizeLong(), static_cast<size_t>(kMaxReceiveBytes));
    const size_t num_before = begun.size();
    for (const v1::NewSequence& learned : command.new_sequences()) {
      begun.insert(learned.sequence_id());
    }
    if (begun.size() == num_before) break;  // reported below
    if (num_before == 0) num_first = begun.size();
    StepResult result{.step_id = batch->step_id};
    for (const BatchRow& row : batch->rows) {
      if (row.sample) result.tokens.push_back({row.id, row.begin + row.num_tokens, 7});
    }
    EXPECT_TRUE(schedule.Complete(result).ok());
  }
  EXPECT_EQ(begun.size(), kNumSequences);
  return num_first;
}

TEST(EncodeStep, LongPromptsThatAreDueAtOnceStayWithinAMessage) {
  const size_t num_first = BeginAll(MakeRequest(100'000));
  EXPECT_GT(num_first, 1u) << "a message holds several";
  EXPECT_LT(num_first, kNumSequences);
}

TEST(EncodeStep, LongListsOfAllowedTokensStayWithinAMessage) {
  v1::SubmitRequest request = MakeRequest(4);
  for (uint32_t i = 0; i < 65536; ++i) {
    request.mutable_sampling()->add_allowed_token_ids(kVocabSize - 1 - i);
  }
  const size_t num_first = BeginAll(request);
  EXPECT_GT(num_first, 1u);
  EXPECT_LT(num_first, kNumSequences);
}

TEST(EncodeStep, ShortPromptsBeginTogether) {
  EXPECT_EQ(BeginAll(MakeRequest(100)), size_t{kNumSequences});
}

}  // namespace
}  // namespace baton::scheduler
