#include "services/stage_worker/execution/stage_executor.h"

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/fakes/sequence_driver.h"
#include "tests/unit/services/stage_worker/execution/stage_executor_fixture.h"

namespace baton::stage {
namespace {

TEST_F(StageExecutorTest, RunsStepsThroughAllStages) {
  const auto group = Group(2, 2, 2);
  const auto output = group->Run(OneToken(1));
  ASSERT_TRUE(output.ok()) << output.status();
  ASSERT_EQ(output->tokens.size(), 1u);
  EXPECT_EQ(output->tokens[0].sequence_id, 1u);
  EXPECT_EQ(output->tokens[0].position, 1u);
  EXPECT_EQ(group->executor(0).num_sequences(), 1);
  EXPECT_EQ(group->executor(1).num_used_blocks(), 1);
  EXPECT_EQ(group->pipe(0).num_held(), 0);
}

TEST_F(StageExecutorTest, TakesStepsWithoutRows) {
  const auto group = Group(2, 2, 1);
  ASSERT_TRUE(group->Run(OneToken(1)).ok());
  StepWork work;
  work.finished_sequence_ids = {1};
  const auto output = group->Run(work);
  ASSERT_TRUE(output.ok()) << output.status();
  EXPECT_TRUE(output->tokens.empty());
  EXPECT_EQ(group->executor(1).num_used_blocks(), 0);
}

TEST_F(StageExecutorTest, KeepsSeveralStepsUnderWay) {
  const auto group = Group(3, 2, 2);
  for (uint64_t id = 1; id <= 2; ++id) {
    StepWork work = OneToken(id);
    work.chunks[0].new_block_ids = {static_cast<uint32_t>(id)};
    ASSERT_TRUE(group->Submit(work).ok());
  }
  for (uint64_t id = 1; id <= 2; ++id) {
    const auto output = group->Take();
    ASSERT_TRUE(output.ok()) << output.status();
    EXPECT_EQ(output->tokens[0].sequence_id, id);
  }
}

// Whoever hears that a step is done takes it that all of it is on its way.
TEST_F(StageExecutorTest, ReportsAStepOnceEveryDeviceHasSentItsPart) {
  const auto group = Group(2, 2, 2);
  group->pipe(0).HoldSends(/*rank=*/1);
  ASSERT_TRUE(group->Submit(OneToken(1)).ok());
  ASSERT_TRUE(group->pipe(0).WaitForHeldSend(absl::Seconds(20)));
  EXPECT_FALSE(group->WaitForResult(0, absl::Milliseconds(100))) << "rank 1's part is not sent";
  group->pipe(0).LetSendsGo();
  EXPECT_TRUE(group->WaitForResult(0, absl::Seconds(20)));
  const auto output = group->Take();
  ASSERT_TRUE(output.ok()) << output.status();
  EXPECT_EQ(output->tokens.size(), 1u);
}

TEST_F(StageExecutorTest, CountsTheTimeBetweenStepsWhileWorkWaited) {
  const auto group = Group(1, 2, 1);
  const auto gap_before = [&group](uint64_t id, bool work_waited) {
    StepWork work = OneToken(id);
    work.chunks[0].new_block_ids = {static_cast<uint32_t>(id)};
    work.work_waited = work_waited;
    EXPECT_TRUE(group->Submit(work).ok());
    return group->TakeResult()->gap_us;
  };
  EXPECT_FALSE(gap_before(1, false).has_value());
  EXPECT_FALSE(gap_before(2, false).has_value()) << "nobody wanted anything of what it knows";
  EXPECT_TRUE(gap_before(3, true).has_value());
}

TEST_F(StageExecutorTest, RefusesStepsOutOfOrderOrOfAnotherEpoch) {
  const auto group = Group(1, 1, 1);
  StageExecutor& executor = group->executor(0);
  StepWork work = OneToken(1);
  work.epoch = 1;
  work.step_id = 2;
  EXPECT_EQ(executor.Submit(work).code(), absl::StatusCode::kInvalidArgument);
  work.epoch = 2;
  work.step_id = 1;
  EXPECT_EQ(executor.Submit(work).code(), absl::StatusCode::kFailedPrecondition);
  work.epoch = 1;
  EXPECT_TRUE(executor.Submit(work).ok());
  EXPECT_TRUE(executor.Drain(absl::Now() + absl::Seconds(20)).ok());
}

TEST_F(StageExecutorTest, RefusesABadStepAndGoesOn) {
  const auto group = Group(1, 1, 1);
  StepWork bad = OneToken(1);
  bad.chunks[0].new_block_ids = {16};
  EXPECT_EQ(group->Submit(bad).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(group->Run(OneToken(1)).ok());
}

TEST_F(StageExecutorTest, RefusesMoreStepsThanItsQueueHolds) {
  const auto group = Group(2, 1, 1);
  // The second stage alone: the hidden states that it waits for never come.
  StageExecutor& executor = group->executor(1);
  absl::Status status;
  uint64_t num_taken = 0;
  for (uint64_t id = 1; id <= 16; ++id) {
    StepWork work = OneToken(id);
    work.epoch = 1;
    work.step_id = id;
    work.chunks[0].new_block_ids = {static_cast<uint32_t>(id - 1)};
    status = executor.Submit(work);
    if (!status.ok()) break;
    ++num_taken;
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_GE(num_taken, 3u);  // two in flight and one more
  EXPECT_EQ(executor.num_sequences(), static_cast<int64_t>(num_taken));
  EXPECT_EQ(executor.Drain(absl::Now()).code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(StageExecutorTest, BreaksTheEpochWhenHiddenStatesAreDamaged) {
  const auto group = Group(2, 2, 2);
  ASSERT_TRUE(group->Run(OneToken(1)).ok());
  group->pipe(0).Damage(2, 1);  // one device of two is affected
  StepWork work;
  work.chunks.push_back({1, 1, 1, {9}, {}, true});
  const auto output = group->Run(work);
  EXPECT_EQ(output.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(output.status().message()), testing::HasSubstr("step 2 for rank 1"));
  work.chunks[0].begin = 2;
  EXPECT_EQ(group->executor(1).Submit(work).code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(group->BeginEpoch().ok());
  EXPECT_EQ(group->executor(0).num_sequences(), 0);
  EXPECT_TRUE(group->Run(OneToken(1)).ok());
}

TEST_F(StageExecutorTest, BeginsAnEpochWhileStepsWait) {
  const auto group = Group(2, 2, 2);
  StepWork work = OneToken(1);
  work.epoch = 1;
  work.step_id = 1;
  ASSERT_TRUE(group->executor(1).Submit(work).ok());  // stage 0 never hears of it
  ASSERT_TRUE(group->BeginEpoch().ok());
  EXPECT_TRUE(group->Run(OneToken(1)).ok());
}

TEST_F(StageExecutorTest, FailsOnlyTheSequenceWhoseLogitsAreNotFinite) {
  // The embedding of token 50 is not a number.
  fakes::MemoryTensor embedding = checkpoint_.tensors().at("model.embed_tokens.weight");
  auto* values = reinterpret_cast<BFloat16*>(embedding.bytes.data());
  values[50 * config_.hidden_size] = BFloat16{0x7fc0};
  checkpoint_.Set("model.embed_tokens.weight", embedding);
  const auto group = Group(2, 2, 1);
  StepWork work;
  SamplingSettings scored;
  scored.num_prompt_logprobs = 0;
  work.new_sequences.push_back({1, {5, 6}, 2, {}});
  work.new_sequences.push_back({2, {5, 50, 6}, 3, scored});
  work.new_sequences.push_back({3, {7, 8}, 2, {}});
  work.chunks.push_back({1, 0, 2, {}, {0}, true});
  work.chunks.push_back({2, 0, 3, {}, {1}, true});
  work.chunks.push_back({3, 0, 2, {}, {2}, true});
  const auto output = group->Run(work);
  ASSERT_TRUE(output.ok()) << output.status();
  ASSERT_EQ(output->failures.size(), 1u);
  EXPECT_EQ(output->failures[0].sequence_id, 2u);
  EXPECT_THAT(output->failures[0].message, testing::HasSubstr("not finite"));
  ASSERT_EQ(output->tokens.size(), 2u);
  EXPECT_EQ(output->tokens[1].sequence_id, 3u);
  EXPECT_TRUE(output->prompt_scores.empty());
}

TEST_F(StageExecutorTest, PlansItsMemory) {
  const auto group = Group(2, 2, 2);
  StageExecutor& executor = group->executor(0);
  const auto plan = executor.PlanMemory({.memory_bytes = 64 << 20});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->weight_bytes, executor.weight_bytes());
  EXPECT_GT(plan->workspace_bytes, 0u);
  const uint64_t used = plan->weight_bytes + plan->workspace_bytes +
                        plan->kv_block_bytes * static_cast<uint64_t>(plan->num_blocks);
  EXPECT_LE(used, plan->memory_bytes);
  EXPECT_GT(used + plan->kv_block_bytes, plan->memory_bytes);
  EXPECT_EQ(executor.kv_bytes(), 16 * plan->kv_block_bytes);
  EXPECT_EQ(executor.PlanMemory({.memory_bytes = 1000}).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST_F(StageExecutorTest, CountsWhatOperationsHold) {
  const auto group = Group(2, 2, 2);
  const auto plan = group->executor(0).PlanMemory({.memory_bytes = 64 << 20});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_GT(plan->workspace_bytes, 2 * WorkspaceBytes(StageShapeOf(0, 2)));
}

TEST_F(StageExecutorTest, DrawsTheSameAfterItsPlan) {
  const auto plain = Group(2, 2, 1)->Run(OneToken(1));
  ASSERT_TRUE(plain.ok()) << plain.status();
  // Devices of their own rehearse.
  UseSeparateDevices({});
  const auto group = Group(2, 2, 1);
  for (int stage : {0, 1}) {
    ASSERT_TRUE(group->executor(stage).PlanMemory({.memory_bytes = 64 << 20}).ok());
  }
  const auto rehearsed = group->Run(OneToken(1));
  ASSERT_TRUE(rehearsed.ok()) << rehearsed.status();
  EXPECT_EQ(rehearsed->tokens[0].token_id, plain->tokens[0].token_id);
}

TEST_F(StageExecutorTest, GivesDevicesNoMemoryOfTheHost) {
  const auto expected = Group(2, 2, 2)->Run(OneToken(1));
  ASSERT_TRUE(expected.ok()) << expected.status();
  UseSeparateDevices({});
  const auto group = Group(2, 2, 2);
  for (int stage : {0, 1}) ASSERT_TRUE(group->executor(stage).PlanMemory({}).ok());
  const auto output = group->Run(OneToken(1));
  ASSERT_TRUE(output.ok()) << output.status();
  EXPECT_EQ(output->tokens[0].token_id, expected->tokens[0].token_id);
}

TEST_F(StageExecutorTest, PlansWithTheMemoryOfEachDevice) {
  UseSeparateDevices({.total_bytes = 64 << 20});
  const auto group = Group(1, 2, 2);
  const auto plan = group->executor(0).PlanMemory({.utilization = 0.5});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->memory_bytes, uint64_t{64} << 20);
  const uint64_t used = plan->weight_bytes + plan->workspace_bytes +
                        plan->kv_block_bytes * static_cast<uint64_t>(plan->num_blocks);
  EXPECT_LE(used, plan->memory_bytes);
}

TEST_F(StageExecutorTest, RefusesAPlanForMemoryThatOthersHold) {
  UseSeparateDevices({.total_bytes = 64 << 20, .others_bytes = 32 << 20});
  const auto group = Group(1, 2, 2);
  const absl::Status status = group->executor(0).PlanMemory({.utilization = 0.9}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("device 0: the stage is to use"));
  EXPECT_TRUE(group->executor(0).PlanMemory({.utilization = 0.4}).ok());
}

TEST_F(StageExecutorTest, NeedsItsWeights) {
  StageExecutorOptions options;
  options.config = config_;
  options.stage = {0, 3, true, true};
  options.compute_type = DataType::kFloat32;
  options.max_model_len = 256;
  options.max_step_tokens = 64;
  options.max_step_sequences = 8;
  auto executor = StageExecutor::Create(options, *backend_->CreateTeam(1, 1), nullptr);
  ASSERT_TRUE(executor.ok()) << executor.status();
  EXPECT_EQ((*executor)->PlanMemory({.memory_bytes = 64 << 20}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ((*executor)->BeginEpoch({1, 16}).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ((*executor)->Submit(OneToken(1)).code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(checkpoint_.Fill((*executor)->weight_store(0)).ok());
  EXPECT_TRUE((*executor)->BeginEpoch({1, 16}).ok());
  EXPECT_EQ((*executor)->BeginEpoch({1, 16}).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(StageExecutorTest, RefusesImpossibleOptions) {
  const auto code = [&](const StageExecutorOptions& options, int num_ranks) {
    return StageExecutor::Create(options, *backend_->CreateTeam(num_ranks, 1), nullptr)
        .status()
        .code();
  };
  StageExecutorOptions good;
  good.config = config_;
  good.stage = {0, 3, true, true};
  good.max_model_len = 256;
  good.max_step_tokens = 64;
  good.max_step_sequences = 8;
  EXPECT_EQ(code(good, 1), absl::StatusCode::kOk);
  EXPECT_EQ(code(good, 2), absl::StatusCode::kInvalidArgument);  // a team of other ranks
  StageExecutorOptions bad = good;
  bad.num_ranks = 4;  // 6 heads
  EXPECT_EQ(code(bad, 4), absl::StatusCode::kInvalidArgument);
  bad = good;
  bad.stage.layer_end = 4;
  EXPECT_EQ(code(bad, 1), absl::StatusCode::kInvalidArgument);
  bad = good;
  bad.max_model_len = config_.max_positions + 1;
  EXPECT_EQ(code(bad, 1), absl::StatusCode::kInvalidArgument);
  bad = good;
  bad.max_step_tokens = 0;
  EXPECT_EQ(code(bad, 1), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace baton::stage
