#include "services/scheduler/core/prefill_policy.h"

#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/core/sequences.h"

namespace baton::scheduler {
namespace {

// A token costs 1, a pair 0.001: 1,000 tokens behind nothing cost 1,500, behind 10,000 11,500.
StepCost PairCost() { return StepCost({.prior = {CostTerms{.values = {0, 0, 1, 0, 0, 1e-3, 0}}}}); }

// With `num_computed` of its tokens behind it.
Sequence Prompt(uint32_t num_tokens, uint32_t num_computed = 0) {
  Sequence sequence(MakeRequest(1, num_tokens), 0);
  if (num_computed > 0) sequence.Advance(num_computed, 1);
  return sequence;
}

TEST(PrefillPolicy, CutsChunksAtTheBudgetAndTheThreshold) {
  const StepCost cost({});
  EXPECT_EQ(ChunkTokens(Prompt(100), {.budget = 64}, {}, cost), 64u);
  EXPECT_EQ(ChunkTokens(Prompt(100, 64), {.budget = 64}, {}, cost), 36u);
  EXPECT_EQ(ChunkTokens(Prompt(1000), {.budget = 512, .max_chunk = 128}, {}, cost), 128u);
}

TEST(PrefillPolicy, CutChunksEndAtAMultiple) {
  const StepCost cost({});
  EXPECT_EQ(ChunkTokens(Prompt(5000), {.budget = 2000}, {}, cost), 1984u);
  EXPECT_EQ(ChunkTokens(Prompt(5000, 10), {.budget = 2000}, {}, cost), 1974u);  // ends at 1,984
  EXPECT_EQ(ChunkTokens(Prompt(5000), {.budget = 50}, {}, cost), 50u);          // would be none
  EXPECT_EQ(ChunkTokens(Prompt(2000), {.budget = 2000}, {}, cost), 2000u);      // is not cut
}

TEST(PrefillPolicy, ChunksShrinkAsThePrefixGrows) {
  const StepCost cost = PairCost();
  StepWork whole;
  whole.Add(0, 2048, false);
  const double seconds = cost.Seconds(whole);
  uint32_t last = 2048;
  for (const uint32_t prefix : {0u, 2048u, 8192u, 16384u}) {
    const Sequence prompt = Prompt(40000, prefix);
    const ChunkLimits limits{.budget = 2048, .seconds = seconds};
    const uint32_t chunk = ChunkTokens(prompt, limits, {}, cost);
    StepWork work;
    work.Add(prefix, chunk, false);
    EXPECT_LE(cost.Seconds(work), seconds);
    work.Add(prefix + chunk, 64, false);
    EXPECT_GT(cost.Seconds(work), seconds * 0.99) << "behind " << prefix;
    EXPECT_TRUE(prefix == 0 ? chunk == 2048 : chunk < last) << chunk;
    last = chunk;
  }
}

TEST(PrefillPolicy, ChunksShrinkForWhatTheStepHasToDoAlready) {
  StepWork decodes;
  for (int i = 0; i < 100; ++i) decodes.Add(5000, 1, true);
  const ChunkLimits limits{.budget = 2048, .seconds = 612};
  EXPECT_EQ(ChunkTokens(Prompt(4096), limits, decodes, StepCost({})), 512u);
}

TEST(PrefillPolicy, ChunksDoNotShrinkBelowTheLeast) {
  const ChunkLimits limits{.budget = 2048, .min_chunk = 256, .seconds = 1};
  EXPECT_EQ(ChunkTokens(Prompt(40000, 30720), limits, {}, PairCost()), 256u);
  EXPECT_EQ(ChunkTokens(Prompt(30820, 30720), limits, {}, PairCost()), 100u);
}

TEST(PrefillPolicy, FitsOnlyWithRoomForTheNextToken) {
  const Sequence sequence(MakeRequest(1, 128), 0);
  EXPECT_FALSE(FitsNow(sequence, {}, BlockLedger(2, 64), 0));
  EXPECT_TRUE(FitsNow(sequence, {}, BlockLedger(3, 64), 0));
}

TEST(PrefillPolicy, KeepsTheReserveFree) {
  const Sequence sequence(MakeRequest(1, 128), 0);
  EXPECT_FALSE(FitsNow(sequence, {}, BlockLedger(4, 64), 2));
  EXPECT_TRUE(FitsNow(sequence, {}, BlockLedger(5, 64), 2));
}

TEST(PrefillPolicy, CountsOnlyBlocksThatNobodyHolds) {
  const Sequence sequence(MakeRequest(1, 128), 0);
  BlockLedger ledger(4, 64);
  ASSERT_TRUE(ledger.Grow(2, 128).has_value());
  EXPECT_FALSE(FitsNow(sequence, {}, ledger, 0));
  EXPECT_TRUE(FitsNow(sequence, {.blocks = {0}, .num_free = 0}, ledger, 0));
  EXPECT_FALSE(FitsNow(sequence, {.blocks = {3}, .num_free = 1}, ledger, 0));
}

TEST(PrefillPolicy, SharesAdmissionsAmongStepsInFlight) {
  EXPECT_EQ(AdmissionShare(5, 100, 2), 3u);
  EXPECT_EQ(AdmissionShare(5, 2, 2), 1u);
  EXPECT_EQ(AdmissionShare(1, 100, 4), 1u);
  EXPECT_EQ(AdmissionShare(0, 100, 4), 0u);
  EXPECT_EQ(AdmissionShare(9, 0, 1), 0u);
}

TEST(PrefillPolicy, SpareTokensCostNoStep) {
  EXPECT_EQ(SpareTokens(100, 2048), 1948u);
  EXPECT_EQ(SpareTokens(2048, 2048), 0u);
  EXPECT_EQ(SpareTokens(2049, 2048), 1984u) << "64 now, the rest in the next";
  EXPECT_EQ(SpareTokens(4000, 2048), 64u) << "1984 of 1952 that are needed now";
  EXPECT_EQ(SpareTokens(4033, 2048), 0u);
  EXPECT_EQ(SpareTokens(4096, 2048), 0u);
  EXPECT_EQ(SpareTokens(4097, 2048), 1984u);
  // Beside other rows: a cut chunk leaves what no chunk of the prompt takes.
  EXPECT_EQ(SpareTokens(2045 + 1984, 2045), 61u);
  EXPECT_EQ(SpareTokens(2045 + 1985, 2045), 2045u - 64u);
  EXPECT_EQ(SpareTokens(100, 40), 0u);
}

}  // namespace
}  // namespace baton::scheduler
