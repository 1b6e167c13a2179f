// Who floods a group.
#include "services/scheduler/core/fair_shares.h"

#include <cstdint>

#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/core/sequences.h"

namespace baton::scheduler {
namespace {

// Shares of two keys beside one more: four places, 2,000 tokens, a third of the time.
constexpr GroupCapacity kCapacity{.num_places = 12, .num_tokens = 6000, .block_tokens = 0};

// A key with one live sequence, and `flood` with more.
struct Flood {
  explicit Flood(uint32_t num_live, double weight = 1) {
    shares.Enter(shares.Open("light"), 1);
    for (uint32_t i = 0; i < num_live; ++i) shares.Enter(key, weight);
  }
  Flooded What(TimeUs now = 0) const { return shares.WhatFloods(*key, kCapacity, now); }

  FairShares shares;
  KeyAccount* key = shares.Open("flood");
};

TEST(FairShares, PlacesAreFloodedByWhatRunsAndWaits) {
  EXPECT_EQ(Flood(4).What(), Flooded::kNothing);
  EXPECT_EQ(Flood(5).What(), Flooded::kPlaces);
  EXPECT_EQ(Flood(6, 2).What(), Flooded::kNothing) << "two of four parts";
  EXPECT_EQ(Flood(7, 2).What(), Flooded::kPlaces);
}

TEST(FairShares, BlocksAreFloodedByWhatRunsAndWaits) {
  Flood flood(2);
  flood.key->live_tokens = 1000;
  flood.key->waiting_tokens = 1000;
  EXPECT_EQ(flood.What(), Flooded::kNothing);
  flood.key->waiting_tokens = 1001;
  EXPECT_EQ(flood.What(), Flooded::kBlocks);
}

TEST(FairShares, TimeIsFloodedByWhatStepsGaveOfLate) {
  Flood flood(2);
  flood.key->time.Add(0.5, kSecond);
  EXPECT_EQ(flood.What(kSecond), Flooded::kNothing);
  flood.key->time.Add(0.1, kSecond);
  EXPECT_EQ(flood.What(kSecond), Flooded::kTime);
  EXPECT_EQ(flood.What(2 * kSecond), Flooded::kNothing) << "forgotten";
}

TEST(FairShares, TimeIsFloodedByPromptsThatWait) {
  Flood flood(2);
  GroupCapacity capacity = kCapacity;
  capacity.token_seconds = 1e-3;
  flood.key->lines[0].work.prompt_tokens = 400;
  EXPECT_EQ(flood.shares.WhatFloods(*flood.key, capacity, 0), Flooded::kNothing);
  flood.key->lines[1].work.prompt_tokens = 200;
  EXPECT_EQ(flood.shares.WhatFloods(*flood.key, capacity, 0), Flooded::kTime);
}

TEST(FairShares, OneSequenceFloodsNothing) {
  Flood flood(1);
  flood.key->live_tokens = 6000;
  flood.key->time.Add(1, 0);
  EXPECT_EQ(flood.What(), Flooded::kNothing);
}

TEST(FairShares, FloodsAreFound) {
  Flood flood(2);
  flood.key->live_tokens = 6000;
  EXPECT_EQ(flood.shares.FindFloods(kCapacity, 0), Flooded::kBlocks);
  EXPECT_EQ(flood.key->floods, Flooded::kBlocks);
  EXPECT_EQ(flood.shares.Find("light")->floods, Flooded::kNothing);
  flood.key->live_tokens = 0;
  EXPECT_EQ(flood.shares.FindFloods(kCapacity, 0), Flooded::kNothing);
}

}  // namespace
}  // namespace baton::scheduler
