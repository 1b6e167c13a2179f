// Runs a sequence alone, among others, in chunks and after preemption, and compares the bits: what
// the tests of invariance have in common.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "tests/conformance/model/tiny_model.h"
#include "tests/fakes/separate_device.h"

namespace baton::conformance {

inline constexpr uint32_t kPromptTokens = 75;
inline constexpr uint32_t kDrawnTokens = 8;
inline constexpr uint32_t kWhole = 1000;
inline constexpr int kOthers = 16;

inline stage::SamplingSettings Sampling(uint64_t seed) {
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

inline std::vector<uint32_t> Prompt(const Cell& cell, size_t sequence, uint32_t size) {
  const std::vector<uint32_t> ids = TinyModelOf(cell.form).sequences[sequence].AllIds();
  return {ids.begin(), ids.begin() + size};
}

// Appends what came back of one position, as bits.
inline void AddBits(const stage::PositionScores& scores, std::vector<uint32_t>* bits) {
  const auto add = [bits](const kernels::TokenScore& score) {
    uint32_t logprob = 0;
    std::memcpy(&logprob, &score.logprob, sizeof(logprob));
    bits->insert(bits->end(), {score.token_id, logprob, score.rank});
  };
  add(scores.token);
  for (const kernels::TokenScore& score : scores.top) add(score);
}

// Everything that came back of positions from `first_position` on, as bits.
inline std::vector<uint32_t> BitsOf(const fakes::DrivenSequence& sequence,
                                    uint32_t first_position = 0) {
  std::vector<uint32_t> bits = sequence.tokens;
  for (const auto& [position, scores] : sequence.scores) {
    if (position < first_position) continue;
    bits.push_back(position);
    AddBits(scores, &bits);
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

// Every backend; of fast ones on a CPU more numbers of ranks, and the BF16 form.
inline std::vector<Cell> InvarianceCells() {
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
  return FewerUnderSanitizers(cells);
}

}  // namespace baton::conformance
