#include "services/stage_worker/execution/stage_executor.h"

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "kernels/reference/reference_backend.h"
#include "services/stage_worker/model/activation_tap.h"
#include "services/stage_worker/model/workspace.h"
#include "tests/fakes/separate_device.h"
#include "tests/fakes/sequence_driver.h"
#include "tests/fakes/stage_group.h"
#include "tests/fakes/toy_model.h"

namespace baton::stage {
namespace {

class CountingTap final : public ActivationTap {
 public:
  void OnTensor(absl::string_view, const TensorView&) override { ++num_seen; }
  void OnExperts(absl::string_view, std::span<const int32_t>) override { ++num_seen; }

  int num_seen = 0;
};

class StageExecutorTest : public testing::Test {
 protected:
  StageExecutorTest()
      : config_(fakes::ToyConfig()),
        checkpoint_(fakes::RandomCheckpoint(config_, 2)),
        backend_(kernels::CreateReferenceBackend()) {}

  std::unique_ptr<fakes::StageGroup> Group(int num_stages, int num_ranks, int num_devices) {
    fakes::StageGroupOptions options;
    options.config = config_;
    options.checkpoint = &checkpoint_;
    options.backend = chosen_;
    options.num_stages = num_stages;
    options.num_ranks = num_ranks;
    options.num_devices = num_devices;
    options.max_model_len = 256;
    options.max_step_tokens = 64;
    options.max_step_sequences = 8;
    options.num_blocks = 16;
    options.tap = tap_;
    auto group = fakes::StageGroup::Create(options);
    EXPECT_TRUE(group.ok()) << group.status();
    return *std::move(group);
  }
  // For the groups to come.
  void UseSeparateDevices(const fakes::SeparateDeviceOptions& options) {
    separate_ = fakes::SeparateDevices(backend_.get(), options);
    chosen_ = separate_.get();
  }
  // Of Group's stage `index` of two, on a device of one rank of `num_ranks`.
  WorkspaceShape StageShapeOf(int index, int num_ranks) const {
    WorkspaceShape shape;
    shape.config = config_;
    shape.stage = {.has_embedding = index == 0, .has_head = index == 1};
    shape.num_ranks = num_ranks;
    shape.compute_type = DataType::kFloat32;
    shape.max_step_tokens = 64;
    shape.max_step_sequences = 8;
    shape.max_model_len = 256;
    return shape;
  }
  static StepWork OneToken(uint64_t sequence_id) {
    StepWork work;
    work.new_sequences.push_back({sequence_id, {5}, 1, {}});
    work.chunks.push_back({sequence_id, 0, 1, {}, {0}, true});
    return work;
  }

  const ModelConfig config_;
  fakes::MemoryCheckpoint checkpoint_;
  const std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<kernels::Backend> separate_;
  ActivationTap* tap_ = nullptr;
  kernels::Backend* chosen_ = backend_.get();
};

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

// Steps of sequences that begin, go on and end, in company of changing size.
std::vector<uint32_t> TokensOf(fakes::StageGroup& group) {
  fakes::SequenceDriver driver(&group);
  std::vector<uint64_t> ids;
  std::vector<uint32_t> tokens;
  for (uint32_t i = 0; i < 5; ++i) {
    ids.push_back(driver.Add(std::vector<uint32_t>(3 + 29 * i, 2 + i), {}));
    EXPECT_TRUE(driver.Generate(ids.back(), 2, 40).ok());
    std::vector<fakes::SequenceDriver::Part> parts;
    for (const uint64_t id : ids) parts.push_back({id, 1});
    EXPECT_TRUE(driver.Step(parts).ok());
  }
  for (const uint64_t id : ids) {
    tokens.insert(tokens.end(), driver.at(id).tokens.begin(), driver.at(id).tokens.end());
    driver.Finish(id);
  }
  return tokens;
}

TEST_F(StageExecutorTest, RunsStepsInGraphsThatAreMadeBeforeTheFirst) {
  const std::vector<uint32_t> expected = TokensOf(*Group(2, 2, 2));
  fakes::GraphCounts counts;
  UseSeparateDevices({.graphs = &counts});
  const auto group = Group(2, 2, 2);
  // Up to 64 rows, tables of up to 4 blocks; two stages of two devices. Each has run once.
  EXPECT_EQ(counts.made, 10 * 2 * 2);
  EXPECT_EQ(counts.run, counts.made);
  EXPECT_EQ(TokensOf(*group), expected);
  EXPECT_EQ(counts.made, 10 * 2 * 2);
  EXPECT_GT(counts.run, counts.made);
  // The cache stays, and the graphs with it.
  ASSERT_TRUE(group->BeginEpoch().ok());
  EXPECT_EQ(TokensOf(*group), expected);
  EXPECT_EQ(counts.made, 10 * 2 * 2);
}

// What the tests of graphs rely on.
TEST(SeparateDevicesDeathTest, EndTheProcessIfAGraphNamesMemoryThatIsGone) {
  const auto host = kernels::CreateReferenceBackend();
  fakes::GraphCounts counts;
  const auto backend = fakes::SeparateDevices(host.get(), {.graphs = &counts});
  const kernels::Team team = *backend->CreateTeam(1, 1);
  kernels::Ops& ops = *team.devices[0].ops;
  const auto residual = *ops.Allocate(64);
  auto delta = *ops.Allocate(64);
  const auto view = [](kernels::DeviceBuffer& buffer) {
    return TensorView{buffer.data(), DataType::kFloat32, 1, 16, 16};
  };
  ASSERT_TRUE(ops.MakeGraph(1,
                            [&] {
                              ops.Add({view(*residual), view(*delta), view(*residual)});
                            })
                  .ok());
  ops.RunGraph(1, [] {});
  delta.reset();
  const auto other = *ops.Allocate(64);  // not where the first lay
  EXPECT_DEATH(ops.RunGraph(1, [] {}), "1 x 16 is not in the device's memory");
}

TEST(SeparateDevicesDeathTest, HaveGraphsGoBeforeTheCollectivesThatTheyCall) {
  const auto host = kernels::CreateReferenceBackend();
  fakes::GraphCounts counts;
  const auto backend = fakes::SeparateDevices(host.get(), {.graphs = &counts});
  kernels::Team team = *backend->CreateTeam(2, 1);
  kernels::Team::Device& device = team.devices[0];
  const auto memory = *device.ops->Allocate(64);
  const TensorView view = {memory->data(), DataType::kFloat32, 1, 16, 16};
  const std::vector<TensorView> parts = {view, view};
  const auto work = [&] { device.collectives->AllReduceSum(parts, view); };
  ASSERT_TRUE(device.ops->MakeGraph(1, work).ok());
  EXPECT_DEATH(device.collectives.reset(), "collectives go before the graphs");
  // And here the team goes, as it should.
}

TEST_F(StageExecutorTest, MakesGraphsAnewForAnotherCache) {
  fakes::GraphCounts counts;
  UseSeparateDevices({.graphs = &counts});
  const auto group = Group(1, 2, 2);
  StageExecutor& executor = group->executor(0);
  EXPECT_EQ(counts.made, 10 * 2);
  ASSERT_TRUE(executor.BeginEpoch({.epoch = 2, .num_blocks = 8}).ok());
  EXPECT_EQ(counts.made, 10 * 2 * 2);
  // Named memory that is gone, graphs of the first cache would end the process here.
  StepWork work = OneToken(1);
  work.epoch = 2;
  work.step_id = 1;
  ASSERT_TRUE(executor.Submit(work).ok());
  EXPECT_TRUE(executor.Drain(absl::Now() + absl::Seconds(20)).ok());
  EXPECT_EQ(counts.run, counts.made + 2);
}

// The first device alone has the tap; its steps would not have the rows of the other's.
TEST_F(StageExecutorTest, RunsNoStepInAGraphWithATap) {
  const std::vector<uint32_t> expected = TokensOf(*Group(1, 2, 2));
  fakes::GraphCounts counts;
  UseSeparateDevices({.graphs = &counts});
  CountingTap tap;
  tap_ = &tap;
  EXPECT_EQ(TokensOf(*Group(1, 2, 2)), expected);
  EXPECT_GT(tap.num_seen, 0);
  EXPECT_EQ(counts.made, 0);
}

TEST_F(StageExecutorTest, RunsStepsOfGraphsThatDoNotFitWithoutThem) {
  const std::vector<uint32_t> expected = TokensOf(*Group(1, 2, 2));
  fakes::GraphCounts counts;
  UseSeparateDevices({.graphs = &counts, .most_graphs = {10, 4}});
  const auto group = Group(1, 2, 2);
  EXPECT_EQ(group->executor(0).graphs().num_graphs, 4u);
  EXPECT_EQ(group->executor(0).graphs().num_refused, 6u);
  EXPECT_EQ(counts.made, 14);
  EXPECT_EQ(counts.run, 4 * 2) << "devices run the same";
  EXPECT_EQ(TokensOf(*group), expected);
  EXPECT_GT(counts.run, 4 * 2) << "the small ones fit";
}

TEST_F(StageExecutorTest, ServesWithoutAnyGraph) {
  const std::vector<uint32_t> expected = TokensOf(*Group(1, 2, 2));
  fakes::GraphCounts counts;
  UseSeparateDevices({.graphs = &counts, .most_graphs = {0, 10}});
  const auto group = Group(1, 2, 2);
  EXPECT_EQ(group->executor(0).graphs().num_graphs, 0u);
  EXPECT_EQ(group->executor(0).graphs().num_refused, 10u);
  EXPECT_EQ(TokensOf(*group), expected);
  EXPECT_EQ(counts.run, 0);
}

TEST_F(StageExecutorTest, TellsHowLongTheGraphsOfTheEpochTook) {
  EXPECT_EQ(Group(1, 1, 1)->executor(0).graphs().time, absl::ZeroDuration());
  fakes::GraphCounts counts;
  UseSeparateDevices({.graphs = &counts});
  const auto group = Group(1, 1, 1);
  EXPECT_GT(group->executor(0).graphs().time, absl::ZeroDuration());
  ASSERT_TRUE(group->BeginEpoch().ok());
  EXPECT_EQ(group->executor(0).graphs().time, absl::ZeroDuration()) << "they stand";
  EXPECT_EQ(group->executor(0).graphs().num_graphs, 10u);
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
