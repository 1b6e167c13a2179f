// The memory plan of a stage on the CPU: what the largest steps allocate is in it.
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "kernels/cpu/cpu_backend.h"
#include "services/stage_worker/execution/stage_executor.h"
#include "tests/fakes/sequence_driver.h"
#include "tests/fakes/stage_group.h"
#include "tests/fakes/toy_model.h"

namespace baton::stage {
namespace {

// Beyond a split of attention, so that the expanded form keeps sums between splits.
constexpr int64_t kMostTokens = 1024;
constexpr uint32_t kStepTokens = 512;
// In whole blocks, and with room for some drafts behind.
constexpr uint32_t kPromptTokens = 960;

struct PlannedStage {
  bool expands_prompts = false;
  int64_t num_drafts = 0;
  DataType compute_type = DataType::kFloat32;
};

class PlannedMemory : public testing::TestWithParam<PlannedStage> {
 protected:
  PlannedMemory() {
    config_.max_positions = kMostTokens;
    config_.num_mtp_layers = 1;
    checkpoint_ = fakes::RandomCheckpoint(config_, 2);
    fakes::StageGroupOptions options;
    options.config = config_;
    options.checkpoint = &checkpoint_;
    options.backend = backend_.get();
    options.num_stages = 2;
    options.num_ranks = 2;
    options.compute_type = GetParam().compute_type;
    options.max_model_len = kMostTokens;
    options.max_step_tokens = kStepTokens;
    options.num_blocks = 24;
    options.num_speculative_tokens = GetParam().num_drafts;
    options.expand_prompts = GetParam().expands_prompts;
    auto group = fakes::StageGroup::Create(options);
    EXPECT_TRUE(group.ok()) << group.status();
    group_ = *std::move(group);
  }

  // Of both stages.
  std::vector<uint64_t> WorkspaceBytes() {
    std::vector<uint64_t> bytes;
    for (const int stage : {0, 1}) {
      const auto plan = group_->executor(stage).PlanMemory({.memory_bytes = 256 << 20});
      EXPECT_TRUE(plan.ok()) << plan.status();
      bytes.push_back(plan->workspace_bytes);
    }
    return bytes;
  }
  // A step of as many rows as there may be, of a sequence with a prompt of one token: all but one
  // row in the absorbed form.
  void RunAnswerAgain() {
    StepWork work;
    std::vector<uint32_t> tokens(kStepTokens, 7);
    work.new_sequences.push_back({99, std::move(tokens), 1, {}});
    work.chunks.push_back({99, 0, kStepTokens, {}, {0, 1, 2, 3, 4, 5, 6, 7}, true});
    ASSERT_TRUE(group_->Run(work).ok());
    StepWork end;
    end.finished_sequence_ids = {99};
    ASSERT_TRUE(group_->Run(end).ok());
  }
  void RunLongestPrompt() {
    fakes::SequenceDriver driver(group_.get());
    SamplingSettings sampling;
    sampling.temperature = 0.9f;
    sampling.top_p = 0.8f;
    sampling.repetition_penalty = 1.1f;
    sampling.logprobs = true;
    sampling.num_top_logprobs = 20;
    std::vector<uint32_t> prompt;
    for (uint32_t i = 0; i < kPromptTokens; ++i) prompt.push_back(i * 7 % 60);
    const uint64_t id = driver.Add(prompt, sampling);
    const absl::Status first = driver.Step({{id, kPromptTokens - kStepTokens}});
    ASSERT_TRUE(first.ok()) << first;
    // The rest of the prompt fills a step.
    const absl::Status rest = driver.Generate(id, 2, kStepTokens);
    ASSERT_TRUE(rest.ok()) << rest;
  }

  ModelConfig config_ = fakes::ToyConfig();
  fakes::MemoryCheckpoint checkpoint_;
  std::unique_ptr<kernels::Backend> backend_ = *kernels::CreateCpuBackend({});
  std::unique_ptr<fakes::StageGroup> group_;
};

TEST_P(PlannedMemory, HoldsWhatTheLargestStepsAllocate) {
  const std::vector<uint64_t> planned = WorkspaceBytes();
  RunAnswerAgain();
  EXPECT_EQ(WorkspaceBytes(), planned);
  RunLongestPrompt();
  EXPECT_EQ(WorkspaceBytes(), planned);
}

INSTANTIATE_TEST_SUITE_P(
    Stages, PlannedMemory,
    testing::Values(PlannedStage{}, PlannedStage{.compute_type = DataType::kBFloat16},
                    PlannedStage{.expands_prompts = true},
                    PlannedStage{true, 2, DataType::kBFloat16}),
    [](const testing::TestParamInfo<PlannedStage>& stage) {
      return std::string(stage.param.expands_prompts ? "expanded" : "absorbed") +
             (stage.param.num_drafts > 0 ? "_drafts" : "") +
             (stage.param.compute_type == DataType::kFloat32 ? "_float32" : "_bfloat16");
    });

}  // namespace
}  // namespace baton::stage
