// Room that is made before the first call is all that calls take. A GPU's is what it has run.
#include <cstdint>
#include <memory>
#include <vector>

#include "tests/conformance/kernels/attention_cache.h"
#include "tests/conformance/kernels/backends.h"
#include "tests/conformance/kernels/networks.h"
#include "tests/conformance/kernels/tensors.h"

namespace baton::kernels {
namespace {

constexpr DataType kRoomComputeTypes[] = {DataType::kFloat32, DataType::kBFloat16};
constexpr int32_t kNumExperts = 16;
constexpr int64_t kTopK = 3;

class WorkingMemoryConformance : public ConformanceTest {
 protected:
  void SetUp() override {
    ConformanceTest::SetUp();
    if (GetParam().on_gpu) GTEST_SKIP() << "its room is what its calls so far needed";
    if (GetParam().is_reference()) GTEST_SKIP() << "holds nothing between calls";
  }
  // A device that has run nothing.
  Team NewTeam() const { return MakeBackend()->CreateTeam(1, 1).value(); }
};

// Row t chooses `first(t)` and the experts behind it.
template <typename First>
Slots SlotsFrom(int64_t tokens, const First& first) {
  Slots slots;
  slots.top_k = kTopK;
  for (int64_t slot = 0; slot < tokens * kTopK; ++slot) {
    slots.experts.push_back(
        static_cast<int32_t>((first(slot / kTopK) + slot % kTopK) % kNumExperts));
    slots.weights.push_back(0.5f);
  }
  return slots;
}

// Widths that leave panels cut and pieces unaligned.
TEST_P(WorkingMemoryConformance, ExpertsTakeTheRoomWhateverRowsChoose) {
  constexpr int64_t kTokens = 240;
  for (const DataType type : kRoomComputeTypes) {
    for (const int64_t intermediate : {50, 208}) {
      Random random(3);
      const Team team = NewTeam();
      Ops& on = *team.devices[0].ops;
      const Mixture mixture = MakeMixture(
          random, {DataType::kFloat8E4M3, kNumExperts, 152, intermediate, intermediate + 14, 16});
      const Tensor x = RandomTensor(random, type, kTokens, 152);
      const auto run = [&](const Slots& slots, int64_t tokens) {
        RunMixture(on, mixture, slots.Rows(0, tokens), x.view.Rows(0, tokens), 0);
      };
      const Slots same = SlotsFrom(kTokens, [](int64_t) { return 0; });
      on.MakeRoom([&] { run(same, kTokens); });
      const uint64_t room = on.working_bytes();
      const Slots spread = SlotsFrom(kTokens, [](int64_t token) { return token; });
      for (const Slots& slots : {same, spread, RandomSlots(random, kTokens, kTopK, kNumExperts)}) {
        for (const int64_t tokens : {1, 33, 239, 240}) {
          run(slots, tokens);
          ASSERT_EQ(on.working_bytes(), room) << tokens << " tokens";
        }
      }
      // One expert has a task of its own, just not cut.
      for (int64_t rows = 16; rows < kTokens; rows += 16) {
        run(SlotsFrom(kTokens, [rows](int64_t token) { return token < rows ? 0 : token; }),
            kTokens);
        ASSERT_EQ(on.working_bytes(), room) << rows << " rows of one expert";
      }
    }
  }
}

TEST_P(WorkingMemoryConformance, PromptsTakeTheRoomOfTheirEnd) {
  if (!MakeBackend()->expands_prompts()) GTEST_SKIP() << "has the absorbed form alone";
  constexpr int32_t kLength = 1100;
  constexpr int32_t kRows = 300;
  constexpr int64_t kHeads = 5;
  for (const DataType type : kRoomComputeTypes) {
    Random random(4);
    const Team team = NewTeam();
    Ops& on = *team.devices[0].ops;
    const AttentionCache cache(random, {kHeads, 104, 16}, type, {kLength});
    std::vector<std::unique_ptr<PackedWeight>> packed;
    std::vector<const PackedWeight*> keys;
    std::vector<const PackedWeight*> values;
    for (int64_t head = 0; head < kHeads; ++head) {
      packed.push_back(on.Pack({.values = RandomTensor(random, type, 32, 104).view}, type));
      keys.push_back(packed.back().get());
      packed.push_back(on.Pack({.values = RandomTensor(random, type, 24, 104).view}, type));
      values.push_back(packed.back().get());
    }
    const Tensor q = RandomTensor(random, type, kRows, kHeads * 48);
    const Tensor out(type, kRows, kHeads * 24);
    const auto attend = [&](int32_t begin, int32_t end) {
      std::vector<int32_t> positions;
      for (int32_t position = begin; position < end; ++position) positions.push_back(position);
      const std::vector<int32_t> sequences(positions.size(), 0);
      on.MlaPromptAttention({q.view.Rows(0, end - begin), 0, keys, values, 0.1f,
                             cache.Layout(positions, sequences), cache.pages,
                             out.view.Rows(0, end - begin)});
    };
    on.MakeRoom([&] { attend(kLength - kRows, kLength); });
    const uint64_t room = on.working_bytes();
    attend(kLength - kRows, kLength);
    ASSERT_EQ(on.working_bytes(), room);
    for (const int32_t begin : {0, 400, 512, 800}) {
      attend(begin, begin + kRows);
      ASSERT_EQ(on.working_bytes(), room) << "from " << begin;
      attend(begin, begin + 1);
      ASSERT_EQ(on.working_bytes(), room) << "one at " << begin;
    }
  }
}

TEST_P(WorkingMemoryConformance, DrawsTakeTheRoomWhateverTheyAreAskedFor) {
  constexpr int64_t kVocabulary = 5000;
  Random random(5);
  const Tensor logits = RandomTensor(random, DataType::kFloat32, 7, kVocabulary);
  std::vector<SamplingRow> rows(7);
  const std::vector<uint32_t> history = {1, 2, 3, 3};
  std::vector<SampleResult> results(rows.size());
  const auto sample = [&] {
    ops().Sample({.logits = logits.view, .rows = rows, .results = results});
  };
  ops().MakeRoom(sample);
  const uint64_t room = ops().working_bytes();
  for (SamplingRow& row : rows) row.temperature = 1.0f;
  rows[1].top_p = 0.99f;
  rows[2].top_k = 4000;
  rows[3].min_p = 0.001f;
  rows[4].frequency_penalty = 0.5f;
  rows[4].answer_tokens = history;
  rows[5].logprobs = true;
  rows[5].num_top_logprobs = 20;
  sample();
  EXPECT_EQ(ops().working_bytes(), room);
  const std::vector<uint32_t> targets(rows.size(), 9);
  ops().ScoreTokens({logits.view, targets, 20, results});
  EXPECT_EQ(ops().working_bytes(), room);
}

BATON_COMPARISON_TESTS(WorkingMemoryConformance);

}  // namespace
}  // namespace baton::kernels
