#include "services/scheduler/core/prefill_policy.h"

#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/core/sequences.h"

namespace baton::scheduler {
namespace {

TEST(PrefillPolicy, CutsChunksAtTheBudget) {
  Sequence sequence(MakeRequest(1, 100), 0);
  EXPECT_EQ(ChunkTokens(sequence, 64), 64u);
  sequence.Advance(64, 1);
  EXPECT_EQ(ChunkTokens(sequence, 64), 36u);
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

}  // namespace
}  // namespace baton::scheduler
