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
  EXPECT_FALSE(FitsNow(sequence, BlockLedger(2, 64)));
  EXPECT_TRUE(FitsNow(sequence, BlockLedger(3, 64)));
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
