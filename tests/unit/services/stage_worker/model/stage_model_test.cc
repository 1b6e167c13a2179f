// Whole toy models against a naive implementation in double precision, in every variant of the
// architecture that the demo model does not show.
#include "services/stage_worker/model/stage_model.h"

#include <cmath>
#include <memory>
#include <string>

#include "gtest/gtest.h"

#include "kernels/reference/reference_backend.h"
#include "tests/fakes/sequence_driver.h"
#include "tests/fakes/stage_group.h"
#include "tests/fakes/toy_model.h"

namespace baton::stage {
namespace {

const std::vector<uint32_t> kTokens = {7, 31, 0, 59, 12, 12, 44, 3, 28, 9, 50, 1, 17};

class StageModelTest : public testing::Test {
 protected:
  // Largest difference of a log-probability of the next token over all of kTokens.
  double WorstDifference(const ModelConfig& config, int num_stages, int num_ranks,
                         int num_devices) {
    const fakes::MemoryCheckpoint checkpoint = fakes::RandomCheckpoint(config, 5);
    const auto backend = kernels::CreateReferenceBackend();
    fakes::StageGroupOptions options;
    options.config = config;
    options.checkpoint = &checkpoint;
    options.backend = backend.get();
    options.num_stages = num_stages;
    options.num_ranks = num_ranks;
    options.num_devices = num_devices;
    options.max_model_len = 256;
    const auto group = fakes::StageGroup::Create(options);
    EXPECT_TRUE(group.ok()) << group.status();
    if (!group.ok()) return 1e9;
    fakes::SequenceDriver driver(group->get());
    SamplingSettings sampling;
    sampling.num_prompt_logprobs = 0;
    const uint64_t id = driver.Add(kTokens, sampling);
    EXPECT_TRUE(driver.Prefill(id, 5).ok());
    const auto expected = fakes::NaiveLogits(config, checkpoint, kTokens);
    double worst = 0.0;
    for (uint32_t position = 1; position < kTokens.size(); ++position) {
      const kernels::TokenScore& score = driver.at(id).scores.at(position).token;
      EXPECT_EQ(score.token_id, kTokens[position]);
      const double error =
          std::abs(score.logprob - fakes::NaiveLogprob(expected[position - 1], kTokens[position]));
      if (!(error <= worst)) worst = error;  // NaN too
    }
    return worst;
  }
};

constexpr double kTolerance = 2e-4;

TEST_F(StageModelTest, AgreesWithTheNaiveModel) {
  EXPECT_LT(WorstDifference(fakes::ToyConfig(), 1, 1, 1), kTolerance);
}

TEST_F(StageModelTest, TakesShardsThatCutScaleBlocks) {
  EXPECT_LT(WorstDifference(fakes::ToyConfig(), 1, 2, 1), kTolerance);
  EXPECT_LT(WorstDifference(fakes::ToyConfig(), 3, 3, 2), kTolerance);
  EXPECT_LT(WorstDifference(fakes::ToyConfig(), 2, 6, 6), kTolerance);
}

TEST_F(StageModelTest, TakesBFloat16Weights) {
  ModelConfig config = fakes::ToyConfig();
  config.fp8_weights = false;
  EXPECT_LT(WorstDifference(config, 1, 3, 1), kTolerance);
}

TEST_F(StageModelTest, ProjectsQueriesWithoutALowRank) {
  ModelConfig config = fakes::ToyConfig();
  config.q_lora_rank = 0;
  EXPECT_LT(WorstDifference(config, 2, 2, 1), kTolerance);
}

TEST_F(StageModelTest, TiesTheHeadToTheEmbedding) {
  ModelConfig config = fakes::ToyConfig();
  config.tie_word_embeddings = true;
  EXPECT_LT(WorstDifference(config, 1, 2, 1), kTolerance);
  EXPECT_LT(WorstDifference(config, 2, 2, 2), kTolerance);
}

TEST_F(StageModelTest, TakesOtherExpertSettings) {
  ModelConfig config = fakes::ToyConfig();
  config.num_shared_experts = 0;
  config.normalize_expert_weights = false;
  EXPECT_LT(WorstDifference(config, 1, 2, 1), kTolerance);
  config.num_shared_experts = 2;
  config.num_dense_layers = 0;
  EXPECT_LT(WorstDifference(config, 1, 3, 1), kTolerance);
  config.num_dense_layers = config.num_layers;
  EXPECT_LT(WorstDifference(config, 1, 3, 1), kTolerance);
}

TEST_F(StageModelTest, AppliesYarn) {
  ModelConfig config = fakes::ToyConfig();
  config.has_yarn = true;
  config.yarn = {40.0, 32.0, 1.0, 1.0, 0.7, 128};
  EXPECT_LT(WorstDifference(config, 1, 2, 1), kTolerance);
}

}  // namespace
}  // namespace baton::stage
