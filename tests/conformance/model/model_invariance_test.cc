// A sequence's tokens and log-probabilities have the same bits however it is computed: alone or
// among others, in chunks of any size, on any number of stages and devices, after preemption,
// behind a beginning that another sequence computed. Only the number of ranks may change them
// (other partial sums).
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "kernels/api/attention.h"
#include "tests/conformance/model/tiny_model.h"
#include "tests/fakes/separate_device.h"

namespace baton::conformance {
namespace {

constexpr uint32_t kPromptTokens = 75;
constexpr uint32_t kDrawnTokens = 8;
constexpr uint32_t kWhole = 1000;
constexpr int kOthers = 16;

stage::SamplingSettings Sampling(uint64_t seed) {
  stage::SamplingSettings sampling;
  sampling.temperature = 0.9f;
  sampling.top_p = 0.95f;
  sampling.repetition_penalty = 1.05f;
  sampling.seed = seed;
  sampling.logprobs = true;
  sampling.num_top_logprobs = 4;
  sampling.num_prompt_logprobs = 4;
  return sampling;
}

std::vector<uint32_t> Prompt(const Cell& cell, size_t sequence, uint32_t size) {
  const std::vector<uint32_t> ids = TinyModelOf(cell.form).sequences[sequence].AllIds();
  return {ids.begin(), ids.begin() + size};
}

// Everything that came back of positions from `first_position` on, as bits.
std::vector<uint32_t> BitsOf(const fakes::DrivenSequence& sequence, uint32_t first_position = 0) {
  std::vector<uint32_t> bits = sequence.tokens;
  const auto add = [&bits](const kernels::TokenScore& score) {
    uint32_t logprob = 0;
    std::memcpy(&logprob, &score.logprob, sizeof(logprob));
    bits.insert(bits.end(), {score.token_id, logprob, score.rank});
  };
  for (const auto& [position, scores] : sequence.scores) {
    if (position < first_position) continue;
    bits.push_back(position);
    add(scores.token);
    for (const kernels::TokenScore& score : scores.top) add(score);
  }
  return bits;
}

class ModelInvariance : public testing::TestWithParam<Cell> {
 protected:
  explicit ModelInvariance() : backend_(MakeBackend(GetParam().backend)) {}

  // Of these numbers of devices, those that any machine with the backend has and that find a rank
  // for each.
  static std::vector<int> Possible(const std::vector<int>& counts) {
    if (IsCuda(GetParam().backend)) return {1};
    std::vector<int> possible;
    for (int count : counts) {
      if (count <= GetParam().num_ranks) possible.push_back(count);
    }
    return possible;
  }
  fakes::SequenceDriver& Start(const Cell& cell) {
    driver_.reset();
    group_ = MakeGroup(cell, backend_.get());
    driver_ = std::make_unique<fakes::SequenceDriver>(group_.get());
    return *driver_;
  }
  uint64_t AddSubject() {
    return driver_->Add(Prompt(GetParam(), kSubject, kPromptTokens), Sampling(17));
  }
  std::vector<uint32_t> RunAlone(const Cell& cell, uint32_t chunk) {
    fakes::SequenceDriver& driver = Start(cell);
    const uint64_t id = AddSubject();
    EXPECT_TRUE(driver.Generate(id, kDrawnTokens, chunk).ok());
    EXPECT_EQ(driver.at(id).scores.size(), kPromptTokens - 1 + kDrawnTokens);
    return BitsOf(driver.at(id));
  }

  // The blocks that were given back last are written to by another sequence, which ends.
  void DirtyFreedBlocks() {
    const uint64_t other = driver_->Add(Prompt(GetParam(), 47, kPromptTokens), Sampling(4));
    ASSERT_TRUE(driver_->Step({{other, kPromptTokens}}).ok());
    driver_->Finish(other);
  }

  // The cell's group on one stage and one device, whose bits others are held to.
  static Cell OneStage() {
    Cell cell = GetParam();
    cell.num_stages = 1;
    cell.num_devices = 1;
    return cell;
  }
  void ExpectSameInChunks() {
    const std::vector<uint32_t> whole = RunAlone(OneStage(), kWhole);
    for (uint32_t chunk : {7u, 64u, kWhole}) {
      if (chunk == kWhole && GetParam().num_stages == 1) continue;  // the same run
      EXPECT_EQ(RunAlone(GetParam(), chunk), whole) << "chunks of " << chunk;
    }
  }
  void ExpectSameAmongNeighbours() {
    const std::vector<uint32_t> alone = RunAlone(OneStage(), kWhole);
    fakes::SequenceDriver& driver = Start(GetParam());
    std::vector<fakes::SequenceDriver::Part> parts;
    for (int i = 0; i < kOthers / 2; ++i) {
      parts.push_back({driver.Add(Prompt(GetParam(), i, 10), Sampling(i)), 9});
    }
    const uint64_t subject = AddSubject();
    parts.push_back({subject, 40});
    for (int i = kOthers / 2; i < kOthers; ++i) {
      parts.push_back({driver.Add(Prompt(GetParam(), i, 12), Sampling(i)), 9});
    }
    while (driver.num_drawn(subject) < kDrawnTokens) {
      ASSERT_TRUE(driver.Step(parts).ok());
      // Neighbours leave one by one, so that the subject's row moves.
      driver.Finish(parts.front().sequence_id);
      parts.erase(parts.begin());
      if (parts.front().sequence_id == subject) std::swap(parts.front(), parts.back());
    }
    EXPECT_EQ(BitsOf(driver.at(subject)), alone);
  }
  // Behind each chunk of its prompt and at several draws it gives its blocks away and is computed
  // again, in other chunks.
  void ExpectSameAfterPreemption() {
    const std::vector<uint32_t> undisturbed = RunAlone(OneStage(), kWhole);
    fakes::SequenceDriver& driver = Start(GetParam());
    const uint64_t subject = AddSubject();
    const uint64_t other = driver.Add(Prompt(GetParam(), 46, 70), Sampling(3));
    ASSERT_TRUE(driver.Generate(other, 1, kWhole).ok());
    constexpr uint32_t kChunk = 20;
    for (uint32_t computed = kChunk; computed < kPromptTokens; computed += kChunk) {
      for (uint32_t begin = 0; begin < computed; begin += kChunk) {
        ASSERT_TRUE(driver.Step({{subject, kChunk}}).ok());
      }
      ASSERT_EQ(driver.at(subject).num_computed, computed);
      driver.Preempt(subject);
      ASSERT_TRUE(driver.Step({{other, 1}}).ok());
      DirtyFreedBlocks();
    }
    ASSERT_TRUE(driver.Prefill(subject, 33).ok());
    for (uint32_t drawn : {1u, 2u, 3u, 5u, 7u}) {
      ASSERT_TRUE(driver.Generate(subject, drawn, 16).ok());
      driver.Preempt(subject);
      DirtyFreedBlocks();
      ASSERT_TRUE(driver.Prefill(subject, drawn % 2 == 0 ? kWhole : 31).ok());
    }
    ASSERT_TRUE(driver.Generate(subject, kDrawnTokens, kWhole).ok());
    EXPECT_EQ(BitsOf(driver.at(subject)), undisturbed);
  }

  static constexpr size_t kSubject = 45;  // 300 random tokens
  // From here on groups run on devices that keep graphs.
  void UseGraphs() {
    host_backend_ = std::move(backend_);
    backend_ = fakes::SeparateDevices(host_backend_.get(), {.graphs = &graph_counts_});
  }

  fakes::GraphCounts graph_counts_;
  std::unique_ptr<kernels::Backend> host_backend_;  // of UseGraphs
  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<fakes::StageGroup> group_;
  std::unique_ptr<fakes::SequenceDriver> driver_;
};

TEST_P(ModelInvariance, DoesNotDependOnChunks) { ExpectSameInChunks(); }

TEST_P(ModelInvariance, DoesNotDependOnNeighbours) { ExpectSameAmongNeighbours(); }

TEST_P(ModelInvariance, DoesNotDependOnStages) {
  const std::vector<uint32_t> one = RunAlone(GetParam(), kWhole);
  for (int num_stages : {2, 3, 8}) {
    Cell cell = GetParam();
    cell.num_stages = num_stages;
    EXPECT_EQ(RunAlone(cell, kWhole), one) << num_stages << " stages";
  }
}

TEST_P(ModelInvariance, DoesNotDependOnStepsOrderedAhead) {
  const std::vector<uint32_t> one = RunAlone(GetParam(), kWhole);
  for (int num_stages : {1, 2, 3}) {
    for (int num_devices : Possible({1, 2})) {
      Cell cell = GetParam();
      cell.num_stages = num_stages;
      cell.num_devices = num_devices;
      fakes::SequenceDriver& driver = Start(cell);
      const uint64_t id = AddSubject();
      const absl::Status status = driver.GenerateAhead(id, kDrawnTokens);
      ASSERT_TRUE(status.ok()) << status;
      EXPECT_EQ(BitsOf(driver.at(id)), one)
          << num_stages << " stages, " << num_devices << " devices";
    }
  }
}

TEST_P(ModelInvariance, DoesNotDependOnDevices) {
  const std::vector<uint32_t> one = RunAlone(GetParam(), kWhole);
  for (int num_devices : Possible({2, GetParam().num_ranks})) {
    Cell cell = GetParam();
    cell.num_stages = 2;
    cell.num_devices = num_devices;
    EXPECT_EQ(RunAlone(cell, kWhole), one) << num_devices << " devices";
  }
}

TEST_P(ModelInvariance, DoesNotDependOnGraphs) {
  if (IsCuda(GetParam().backend)) GTEST_SKIP() << "all its steps of few rows run in graphs";
  if (IsSlow(GetParam().backend)) GTEST_SKIP() << "graphs are made of thousands of rows";
  Cell plain = GetParam();
  plain.absorbed = true;  // as all attention is on devices that keep graphs
  const std::vector<uint32_t> one = RunAlone(plain, kWhole);
  UseGraphs();
  for (int num_stages : {1, 2}) {
    Cell cell = GetParam();
    cell.num_stages = num_stages;
    cell.num_devices = std::min(num_stages, cell.num_ranks);
    const int num_devices = cell.num_stages * cell.num_devices;  // of all stages
    graph_counts_.made = graph_counts_.run = 0;
    EXPECT_EQ(RunAlone(cell, kWhole), one) << num_devices << " devices";
    const int num_made = graph_counts_.made;
    const int num_run = graph_counts_.run;
    EXPECT_GT(num_made, 0) << num_devices << " devices";
    // Each ran once before the first step. Of the steps, those of one row take few of them.
    EXPECT_GE(num_run - num_made, static_cast<int>(kDrawnTokens - 1) * num_devices);
    // Chunks of 7 rows run with one of padding.
    ASSERT_TRUE(group_->BeginEpoch().ok());
    driver_ = std::make_unique<fakes::SequenceDriver>(group_.get());
    const uint64_t id = AddSubject();
    ASSERT_TRUE(driver_->Generate(id, kDrawnTokens, 7).ok());
    EXPECT_EQ(BitsOf(driver_->at(id)), one) << num_devices << " devices, small chunks";
    EXPECT_EQ(graph_counts_.made, num_made);
    constexpr int kChunks = (kPromptTokens + 6) / 7;
    EXPECT_GE(graph_counts_.run - num_run,
              (kChunks + static_cast<int>(kDrawnTokens - 1)) * num_devices);
  }
}

TEST_P(ModelInvariance, DoesNotDependOnPreemption) { ExpectSameAfterPreemption(); }

// The beginning of the subject's prompt is a stranger's too, who goes on with other tokens.
TEST_P(ModelInvariance, DoesNotDependOnWhoComputedItsBeginning) {
  constexpr uint32_t kShared = 64;
  ASSERT_TRUE(RunAlone(GetParam(), kWhole).size() > 0);
  const std::vector<uint32_t> alone = BitsOf(driver_->at(1), kShared + 1);
  std::vector<uint32_t> strange = Prompt(GetParam(), kSubject, kShared);
  const std::vector<uint32_t> tail = Prompt(GetParam(), 46, 20);
  strange.insert(strange.end(), tail.begin(), tail.end());
  struct Way {
    const char* name;
    uint32_t before;  // tokens of the stranger that are computed in earlier steps
    bool gone;        // the stranger ends as soon as the subject has begun
  };
  for (const Way& way : {Way{"in the same step", 0, false}, Way{"in part before", 40, false},
                         Way{"before", kWhole, false}, Way{"and is gone", kWhole, true}}) {
    fakes::SequenceDriver& driver = Start(GetParam());
    const uint64_t other = driver.Add(strange, Sampling(3));
    const uint64_t subject = AddSubject();
    driver.Share(subject, other, kShared);
    if (way.before > 0) {
      ASSERT_TRUE(driver.Step({{other, way.before}}).ok());
    }
    ASSERT_TRUE(driver.Step({{other, kWhole}, {subject, kWhole}}).ok()) << way.name;
    if (way.gone) driver.Finish(other);
    ASSERT_TRUE(driver.Generate(subject, kDrawnTokens, kWhole).ok()) << way.name;
    EXPECT_EQ(driver.at(subject).scores.size(), kPromptTokens - 1 - kShared + kDrawnTokens);
    EXPECT_EQ(BitsOf(driver.at(subject), kShared + 1), alone) << way.name;
  }
}

// On two stages, against the bits of one.
class StagedModelInvariance : public ModelInvariance {};

TEST_P(StagedModelInvariance, DoesNotDependOnChunks) { ExpectSameInChunks(); }
TEST_P(StagedModelInvariance, DoesNotDependOnNeighbours) { ExpectSameAmongNeighbours(); }
TEST_P(StagedModelInvariance, DoesNotDependOnPreemption) { ExpectSameAfterPreemption(); }

// With a prompt that is longer than a split of the sums of attention and than a step.
class LongModelInvariance : public ModelInvariance {
 protected:
  static constexpr size_t kLongSubject = 40;    // 609 tokens and an answer
  static constexpr uint32_t kLongPrompt = 620;  // a split ends at 512
  static_assert(kLongPrompt > kernels::kAttentionSplitTokens && kLongPrompt > kLargestStep);

  uint64_t AddLongSubject() {
    return driver_->Add(Prompt(GetParam(), kLongSubject, kLongPrompt), Sampling(17));
  }
  std::vector<uint32_t> RunLongAlone() {
    fakes::SequenceDriver& driver = Start(GetParam());
    const uint64_t id = AddLongSubject();
    EXPECT_TRUE(driver.Generate(id, kDrawnTokens, kWhole).ok());
    EXPECT_EQ(driver.at(id).scores.size(), kLongPrompt - 1 + kDrawnTokens);
    return BitsOf(driver.at(id));
  }
};

// In chunks that end elsewhere than the splits, among others that have rows in every step.
TEST_P(LongModelInvariance, DoesNotDependOnChunksNorOnNeighboursThatStay) {
  const std::vector<uint32_t> alone = RunLongAlone();
  for (uint32_t chunk : {100u, 333u}) {
    if (chunk == 333u && IsSlow(GetParam().backend)) continue;
    fakes::SequenceDriver& driver = Start(GetParam());
    const uint64_t subject = AddLongSubject();
    std::vector<fakes::SequenceDriver::Part> parts;
    for (uint32_t i = 0; i < kOthers; ++i) {
      if (i == kOthers / 2) parts.push_back({subject, chunk});
      parts.push_back({driver.Add(Prompt(GetParam(), i, 9 + i % 3), Sampling(100 + i)), 9});
    }
    while (driver.num_drawn(subject) < kDrawnTokens) ASSERT_TRUE(driver.Step(parts).ok());
    EXPECT_EQ(BitsOf(driver.at(subject)), alone) << "chunks of " << chunk;
    for (const auto& part : parts) {
      EXPECT_GE(driver.num_drawn(part.sequence_id), kDrawnTokens) << "they stay to the end";
    }
  }
}

class LongFastModelInvariance : public LongModelInvariance {};

TEST_P(LongFastModelInvariance, DoesNotDependOnPreemptionBehindASplit) {
  const std::vector<uint32_t> undisturbed = RunLongAlone();
  fakes::SequenceDriver& driver = Start(GetParam());
  const uint64_t subject = AddLongSubject();
  for (uint32_t chunk = 0; chunk < 4; ++chunk) {
    ASSERT_TRUE(driver.Step({{subject, 150}}).ok());
  }
  ASSERT_EQ(driver.at(subject).num_computed, 600u);
  driver.Preempt(subject);
  DirtyFreedBlocks();
  for (uint32_t drawn : {1u, 4u, 6u}) {
    ASSERT_TRUE(driver.Generate(subject, drawn, 200).ok());
    driver.Preempt(subject);
    DirtyFreedBlocks();
    ASSERT_TRUE(driver.Prefill(subject, 90 * drawn).ok());
  }
  ASSERT_TRUE(driver.Generate(subject, kDrawnTokens, kWhole).ok());
  EXPECT_EQ(BitsOf(driver.at(subject)), undisturbed);
}

TEST_P(LongFastModelInvariance, DoesNotDependOnStages) {
  const std::vector<uint32_t> one = RunLongAlone();
  fakes::SequenceDriver& driver = Start(
      {GetParam().backend, GetParam().form, 2, GetParam().num_ranks, 1, GetParam().compute_type});
  const uint64_t id = AddLongSubject();
  ASSERT_TRUE(driver.Generate(id, kDrawnTokens, 200).ok());
  EXPECT_EQ(BitsOf(driver.at(id)), one);
}

std::vector<Cell> InvarianceCells() {
  std::vector<Cell> cells;
  for (const std::string& backend : BackendNames()) {
    cells.push_back({backend, "fp8", 1, 4, 1, DataType::kBFloat16});
    if (backend != "reference") cells.push_back({backend, "fp8", 1, 8, 1, DataType::kFloat32});
    // tools/gpu_check has 80 seconds for whole models on a GPU.
    if (IsSlow(backend) || IsCuda(backend)) continue;
    for (int num_ranks : {1, 2, 8}) {
      cells.push_back({backend, "fp8", 1, num_ranks, 1, DataType::kBFloat16});
    }
    cells.push_back({backend, "bf16", 1, 2, 1, DataType::kBFloat16});
  }
  return cells;
}

// Of the best variant, ranks on two devices of each stage where there are some; under sanitizers
// one of each form.
std::vector<Cell> StagedCells() {
  std::vector<Cell> cells;
  for (const char* form : {"fp8", "bf16"}) {
    for (int num_ranks : {8, 1}) {
      if (IsSanitized() && (num_ranks == 8) != (form == std::string("fp8"))) continue;
      cells.push_back(
          {BackendNames().back(), form, 2, num_ranks, std::min(num_ranks, 2), DataType::kBFloat16});
    }
  }
  return cells;
}

// Of a slow backend and of a GPU one cell; under sanitizers none of a slow one.
std::vector<Cell> LongCells(bool with_slow) {
  std::vector<Cell> cells;
  std::string last;
  for (const Cell& cell : InvarianceCells()) {
    const bool slow = IsSlow(cell.backend);
    if (slow && (!with_slow || IsSanitized())) continue;
    if ((slow || IsCuda(cell.backend)) && cell.backend == last) continue;
    last = cell.backend;
    cells.push_back(cell);
  }
  return cells;
}

INSTANTIATE_TEST_SUITE_P(Matrix, ModelInvariance, testing::ValuesIn(InvarianceCells()),
                         [](const auto& cell) { return NameOf(cell.param); });
INSTANTIATE_TEST_SUITE_P(Matrix, StagedModelInvariance, testing::ValuesIn(StagedCells()),
                         [](const auto& cell) { return NameOf(cell.param); });
INSTANTIATE_TEST_SUITE_P(Matrix, LongModelInvariance, testing::ValuesIn(LongCells(true)),
                         [](const auto& cell) { return NameOf(cell.param); });
INSTANTIATE_TEST_SUITE_P(Matrix, LongFastModelInvariance, testing::ValuesIn(LongCells(false)),
                         [](const auto& cell) { return NameOf(cell.param); });
// A machine whose best variant is the portable one has no fast one.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(LongFastModelInvariance);

}  // namespace
}  // namespace baton::conformance
