// Drafts change how fast tokens come, never which: the same bits with them and without, on any
// number of stages and devices, in company, after preemption, behind a shared beginning.
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "tests/conformance/model/model_invariance.h"
#include "tests/conformance/model/tiny_model.h"

namespace baton::conformance {
namespace {

constexpr uint32_t kTokens = 24;

stage::SamplingSettings Greedy() {
  stage::SamplingSettings sampling;
  sampling.logprobs = true;
  sampling.num_top_logprobs = 3;
  return sampling;
}

stage::SamplingSettings Seeded(uint64_t seed) {
  stage::SamplingSettings sampling = Greedy();
  sampling.temperature = 0.8f;
  sampling.top_p = 0.95f;
  sampling.seed = seed;
  return sampling;
}

// Everything that penalties, masks and biases do with the tokens so far.
stage::SamplingSettings WithHistory(uint64_t seed) {
  stage::SamplingSettings sampling = Seeded(seed);
  sampling.presence_penalty = 0.3f;
  sampling.frequency_penalty = 0.2f;
  sampling.repetition_penalty = 1.1f;
  sampling.logit_bias = {{.token_id = 300, .bias = 1.5f}};
  sampling.min_tokens = 9;
  sampling.masked_token_ids = {1, 53, 54, 260};
  return sampling;
}

// What may be drawn as the tokens so far say: a budget that runs out and begins of sequences that
// come about.
stage::SamplingSettings WithRules(uint64_t seed) {
  stage::SamplingSettings sampling = WithHistory(seed);
  sampling.min_tokens = 0;
  sampling.reasoning_budget = {.num_tokens = 5, .end_token_id = 77};
  for (uint32_t token = 0; token < 200; token += 2) {
    sampling.banned_sequences.push_back({77, token});
    sampling.banned_sequences.push_back({token});
  }
  return sampling;
}

class ModelDrafts : public ModelInvariance {
 protected:
  fakes::SequenceDriver& StartDrafts(int num_drafts, int num_stages = 1, int num_devices = 1) {
    Cell cell = GetParam();
    cell.num_stages = num_stages;
    cell.num_devices = num_devices;
    cell.num_speculative_tokens = num_drafts;
    cell.absorbed = absorbed_;
    return Start(cell);
  }
  static const std::vector<uint32_t>& PromptOf(size_t sequence) {
    return TinyModelOf(GetParam().form).sequences[sequence].prompt_ids;
  }
  // Tokens and scores of the first kTokens that were drawn, as bits.
  std::vector<uint32_t> DrawnBits(uint64_t id) const {
    const fakes::DrivenSequence& sequence = driver_->at(id);
    std::vector<uint32_t> bits;
    for (uint32_t i = 0; i < kTokens; ++i) {
      const uint32_t position = sequence.num_prompt_tokens + i;
      bits.push_back(sequence.tokens.at(position));
      AddBits(sequence.scores.at(position), &bits);
    }
    return bits;
  }
  // In the group that was started.
  std::vector<uint32_t> Draw(size_t sequence, const stage::SamplingSettings& sampling) {
    const uint64_t id = driver_->Add(PromptOf(sequence), sampling);
    const absl::Status status = driver_->Generate(id, kTokens, kLargestStep);
    EXPECT_TRUE(status.ok()) << status;
    last_id_ = id;
    return DrawnBits(id);
  }

  bool absorbed_ = false;  // groups to come; see Cell
  uint64_t last_id_ = 0;
};

TEST_P(ModelDrafts, ChangeNoBit) {
  uint32_t num_drafts = 0;
  uint32_t num_right = 0;
  std::vector<uint32_t> right_at(3);
  const std::vector<size_t> sequences =
      IsSlow(GetParam().backend) ? std::vector<size_t>{0} : std::vector<size_t>{0, 3, 7};
  for (const size_t sequence : sequences) {
    for (const stage::SamplingSettings& sampling :
         {Greedy(), Seeded(5), WithHistory(6), WithRules(7)}) {
      StartDrafts(0);
      const std::vector<uint32_t> plain = Draw(sequence, sampling);
      for (int drafts : {1, 3}) {
        StartDrafts(drafts);
        EXPECT_EQ(Draw(sequence, sampling), plain) << drafts << " drafts";
        num_drafts += driver_->at(last_id_).num_drafts;
        num_right += driver_->at(last_id_).num_right;
        if (drafts < 3) continue;
        const std::vector<uint32_t>& places = driver_->at(last_id_).right_at;
        for (size_t place = 0; place < places.size(); ++place) right_at[place] += places[place];
      }
    }
  }
  EXPECT_GT(num_right, num_drafts / 4) << "of " << num_drafts;
  EXPECT_LT(num_right, num_drafts) << "no wrong draft was ever checked";
  // A guess that is made of guesses is checked only where these were right, and is right often.
  EXPECT_GT(right_at[1], right_at[0] / 3);
  EXPECT_GT(right_at[2], right_at[1] / 3);
  std::printf("%u of %u drafts right; of three: %u, %u, %u\n", num_right, num_drafts, right_at[0],
              right_at[1], right_at[2]);
}

TEST_P(ModelDrafts, ChangeNoBitInGraphs) {
  if (IsCuda(GetParam().backend)) GTEST_SKIP() << "all its steps of few rows run in graphs";
  if (IsSlow(GetParam().backend)) GTEST_SKIP() << "graphs are made of thousands of rows";
  absorbed_ = true;  // as all attention is on devices that keep graphs
  StartDrafts(0);
  const std::vector<uint32_t> plain = Draw(3, WithRules(7));
  UseGraphs();
  StartDrafts(3, 2, 2);
  EXPECT_EQ(Draw(3, WithRules(7)), plain);
  EXPECT_GT(driver_->at(last_id_).num_drafts, 0u);
  EXPECT_GT(graph_counts_.run, graph_counts_.made);
}

TEST_P(ModelDrafts, ChangeNoBitOnStagesAndDevices) {
  StartDrafts(0);
  const std::vector<uint32_t> plain = Draw(2, Seeded(11));
  const bool slow = IsSlow(GetParam().backend);
  for (int num_stages : slow ? std::vector<int>{2} : std::vector<int>{1, 2, 3}) {
    for (int num_devices : {1, 2}) {
      for (int drafts : slow ? std::vector<int>{2} : std::vector<int>{1, 2}) {
        StartDrafts(drafts, num_stages, num_devices);
        EXPECT_EQ(Draw(2, Seeded(11)), plain)
            << num_stages << " stages, " << num_devices << " devices, " << drafts << " drafts";
      }
    }
  }
}

TEST_P(ModelDrafts, ChangeNoBitInCompany) {
  StartDrafts(0);
  const std::vector<uint32_t> plain = Draw(1, WithHistory(3));
  fakes::SequenceDriver& driver = StartDrafts(2, 2, 2);
  const uint64_t subject = driver.Add(PromptOf(1), WithHistory(3));
  std::vector<fakes::SequenceDriver::Part> parts = {{subject, 20}};
  for (size_t i = 0; i < 6; ++i) parts.push_back({driver.Add(PromptOf(10 + i), Seeded(i)), 25});
  while (driver.num_drawn(subject) < kTokens) {
    const absl::Status status = driver.Step(parts);
    ASSERT_TRUE(status.ok()) << status;
  }
  EXPECT_EQ(DrawnBits(subject), plain);
}

TEST_P(ModelDrafts, ChangeNoBitAfterPreemption) {
  StartDrafts(0);
  const std::vector<uint32_t> plain = Draw(4, Seeded(8));
  fakes::SequenceDriver& driver = StartDrafts(2, 2, 1);
  const uint64_t subject = driver.Add(PromptOf(4), Seeded(8));
  for (uint32_t drawn : {1u, 6u, 13u}) {
    ASSERT_TRUE(driver.Generate(subject, drawn, 30).ok());
    driver.Preempt(subject);
    const uint64_t other = driver.Add(PromptOf(5), Greedy());
    ASSERT_TRUE(driver.Generate(other, 4, 40).ok());  // dirties the freed blocks
    driver.Finish(other);
  }
  ASSERT_TRUE(driver.Generate(subject, kTokens, 64).ok());
  EXPECT_EQ(DrawnBits(subject), plain);
}

TEST_P(ModelDrafts, ChangeNoBitBehindASharedBeginning) {
  std::vector<uint32_t> prompt = TinyModelOf(GetParam().form).sequences[45].AllIds();
  prompt.resize(75);
  StartDrafts(0);
  const uint64_t alone = driver_->Add(prompt, Seeded(9));
  ASSERT_TRUE(driver_->Generate(alone, kTokens, kLargestStep).ok());
  const std::vector<uint32_t> plain = DrawnBits(alone);
  fakes::SequenceDriver& driver = StartDrafts(2, 2, 1);
  std::vector<uint32_t> strange(prompt.begin(), prompt.begin() + 64);
  strange.insert(strange.end(), prompt.rbegin(), prompt.rbegin() + 20);
  const uint64_t other = driver.Add(strange, Seeded(1));
  ASSERT_TRUE(driver.Generate(other, 3, 30).ok());
  const uint64_t subject = driver.Add(prompt, Seeded(9));
  driver.Share(subject, other, 64);
  ASSERT_TRUE(driver.Generate(subject, kTokens, kLargestStep).ok());
  EXPECT_EQ(DrawnBits(subject), plain);
}

std::vector<Cell> DraftCells() {
  std::vector<Cell> cells;
  for (const std::string& backend : BackendNames()) {
    cells.push_back({backend, "fp8", 1, 4, 1, DataType::kBFloat16});
  }
  return cells;
}

INSTANTIATE_TEST_SUITE_P(Matrix, ModelDrafts, testing::ValuesIn(DraftCells()),
                         [](const auto& cell) { return NameOf(cell.param); });

}  // namespace
}  // namespace baton::conformance
