#include "services/scheduler/pipeline/stage_registry.h"

#include <string>

#include "absl/strings/match.h"
#include "gtest/gtest.h"

#include "common/rpc/peer.h"

namespace baton::scheduler {
namespace {

class SilentLink final : public StageLink {
 public:
  bool Send(v1::SchedulerMessage) override { return true; }
  void Close(const absl::Status&) override {}
  void Cut(const absl::Status&) override {}
};

class StageRegistryTest : public testing::Test {
 protected:
  StageRegistryTest() : registry_(MakePlans(), absl::Seconds(1), kNonce) {}

  static std::vector<v1::StagePlan> MakePlans() {
    std::vector<v1::StagePlan> plans(2);
    for (uint32_t i = 0; i < 2; ++i) {
      plans[i].set_stage_index(i);
      plans[i].set_num_ranks(2);
    }
    return plans;
  }

  absl::StatusOr<uint32_t> Register(std::optional<uint32_t> index, uint32_t num_ranks = 2,
                                    bool expands_prompts = false) {
    v1::RegisterStage request;
    *request.mutable_peer() = MakePeerInfo("stage-worker");
    if (index.has_value()) request.set_stage_index(*index);
    request.set_num_ranks(num_ranks);
    request.set_expands_prompts(expands_prompts);
    return registry_.Register(std::make_shared<SilentLink>(), request, start_);
  }

  static v1::StageReady MakeReady(uint32_t num_blocks) {
    v1::StageReady ready;
    ready.set_num_blocks(num_blocks);
    for (uint32_t rank = 0; rank < 2; ++rank) {
      ready.add_addresses()->set_rank(rank);
      ready.mutable_addresses()->rbegin()->set_ucx_address("address");
    }
    return ready;
  }

  v1::StageJoined MakeJoined() {
    v1::StageJoined joined;
    joined.set_epoch(registry_.epoch());
    return joined;
  }

  void Complete() {
    for (uint32_t i = 0; i < 2; ++i) {
      ASSERT_TRUE(Register(i).ok());
      ASSERT_TRUE(registry_.Ready(i, MakeReady(10 + i)).ok());
    }
    registry_.TakeTopologies();
    for (uint32_t i = 0; i < 2; ++i) ASSERT_TRUE(registry_.Joined(i, MakeJoined()).ok());
  }

  static constexpr uint32_t kNonce = 77;
  const MonotonicTime start_{};
  StageRegistry registry_;
};

TEST_F(StageRegistryTest, GivesTheStageAskedForOrAnyFreeOne) {
  EXPECT_EQ(Register(1).value(), 1u);
  EXPECT_EQ(Register(std::nullopt).value(), 0u);
  EXPECT_TRUE(absl::IsAlreadyExists(Register(std::nullopt).status()));
  EXPECT_TRUE(absl::IsAlreadyExists(Register(1).status()));
}

TEST_F(StageRegistryTest, RefusesImpossibleRegistrations) {
  EXPECT_TRUE(absl::IsInvalidArgument(Register(2).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Register(0, 3).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(
      registry_.Register(std::make_shared<SilentLink>(), {}, start_).status()));
  EXPECT_EQ(registry_.num_attached(), 0u);
}

TEST_F(StageRegistryTest, TheFirstWorkerDecidesWhetherPromptsAreExpanded) {
  EXPECT_FALSE(registry_.expands_prompts());
  for (const bool expands : {true, false}) {
    ASSERT_TRUE(Register(1, 2, expands).ok());
    EXPECT_EQ(registry_.expands_prompts(), expands);
    const absl::Status refused = Register(0, 2, !expands).status();
    EXPECT_TRUE(absl::IsAborted(refused)) << refused;
    const std::string mine = expands ? "absorbed" : "expanded";
    const std::string other = expands ? "expanded" : "absorbed";
    for (const std::string& words :
         {"for stage 0 computes prompts in the " + mine,
          "of stage 1 (" + MakePeerInfo("stage-worker").instance() + ") in the " + other,
          std::string("same --prompt-attention")}) {
      EXPECT_TRUE(absl::StrContains(refused.message(), words)) << refused;
    }
    EXPECT_EQ(registry_.num_attached(), 1u);
    // A stage that is taken is no matter of its form: the other worker may leave yet.
    EXPECT_TRUE(absl::IsAlreadyExists(Register(1, 2, !expands).status()));
    // One that goes and comes back has to agree with those that stayed.
    ASSERT_TRUE(Register(0, 2, expands).ok());
    registry_.Leave(1);
    EXPECT_TRUE(absl::IsAborted(Register(1, 2, !expands).status()));
    registry_.Leave(0);
    EXPECT_FALSE(registry_.expands_prompts());
  }
}

TEST_F(StageRegistryTest, ConnectsEachStageToTheNextWithTheSmallestCache) {
  for (uint32_t i = 0; i < 2; ++i) {
    ASSERT_TRUE(Register(i).ok());
    EXPECT_FALSE(registry_.topology_due());
    ASSERT_TRUE(registry_.Ready(i, MakeReady(20 - i)).ok());
  }
  ASSERT_TRUE(registry_.topology_due());
  const std::vector<v1::Topology> topologies = registry_.TakeTopologies();
  EXPECT_FALSE(registry_.topology_due());
  EXPECT_EQ(topologies[0].scheduler_nonce(), kNonce);
  EXPECT_EQ(topologies[1].scheduler_nonce(), kNonce);
  EXPECT_EQ(topologies[0].num_blocks(), 19u);
  EXPECT_EQ(topologies[0].next_stage_size(), 2);
  EXPECT_EQ(topologies[1].next_stage_size(), 0);
  // Tokens go back from the last stage to the first.
  EXPECT_EQ(topologies[0].first_stage_size(), 0);
  EXPECT_EQ(topologies[1].first_stage_size(), 2);
}

TEST_F(StageRegistryTest, RefusesMessagesOutOfTurn) {
  ASSERT_TRUE(Register(0).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(registry_.Joined(0, MakeJoined())));
  EXPECT_TRUE(absl::IsInvalidArgument(registry_.Ready(0, MakeReady(0))));
  ASSERT_TRUE(registry_.Ready(0, MakeReady(1)).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(registry_.Ready(0, MakeReady(1))));
  EXPECT_TRUE(absl::IsInvalidArgument(registry_.Progress(0, {})));
}

TEST_F(StageRegistryTest, RefusesAReceivingStageWithoutAnAddressForEachRank) {
  ASSERT_TRUE(Register(1).ok());
  v1::StageReady ready = MakeReady(5);
  ready.mutable_addresses()->RemoveLast();
  EXPECT_TRUE(absl::IsInvalidArgument(registry_.Ready(1, ready)));
  ready = MakeReady(5);
  ready.mutable_addresses(0)->set_ucx_address(std::string(4097, 'x'));
  EXPECT_TRUE(absl::IsInvalidArgument(registry_.Ready(1, ready)));
}

TEST_F(StageRegistryTest, RaisesTheEpochWhenAStageLeaves) {
  Complete();
  ASSERT_TRUE(registry_.ready());
  const v1::StageJoined old = MakeJoined();
  registry_.Leave(1);
  EXPECT_EQ(registry_.epoch(), 2u);
  EXPECT_FALSE(registry_.ready());
  v1::GroupState state;
  registry_.FillState(&state);
  EXPECT_EQ(state.stages(0).phase(), v1::STAGE_PHASE_JOINING);
  EXPECT_EQ(state.stages(1).phase(), v1::STAGE_PHASE_ABSENT);
  ASSERT_TRUE(Register(1).ok());
  ASSERT_TRUE(registry_.Ready(1, MakeReady(5)).ok());
  EXPECT_TRUE(registry_.topology_due());
  EXPECT_EQ(registry_.TakeTopologies()[0].epoch(), 2u);
  EXPECT_TRUE(registry_.Joined(0, old).ok());  // overtaken, without effect
  EXPECT_TRUE(registry_.Joined(0, MakeJoined()).ok());
  EXPECT_TRUE(registry_.Joined(1, MakeJoined()).ok());
  EXPECT_TRUE(registry_.ready());
}

TEST_F(StageRegistryTest, FindsTheSilent) {
  Complete();
  EXPECT_TRUE(registry_.Silent(start_ + absl::Seconds(1)).empty());
  registry_.Heard(0, start_ + absl::Seconds(1));
  EXPECT_EQ(registry_.Silent(start_ + absl::Milliseconds(1001)), (std::vector<uint32_t>{1}));
  registry_.HeardAll(start_ + absl::Seconds(9));
  EXPECT_TRUE(registry_.Silent(start_ + absl::Seconds(10)).empty());
}

TEST_F(StageRegistryTest, WantsOneAddressOfEachRank) {
  ASSERT_TRUE(Register(1).ok());
  v1::StageReady twice = MakeReady(10);
  twice.mutable_addresses(1)->set_rank(0);
  EXPECT_TRUE(absl::IsInvalidArgument(registry_.Ready(1, twice)));
  v1::StageReady beyond = MakeReady(10);
  beyond.mutable_addresses(1)->set_rank(2);
  EXPECT_TRUE(absl::IsInvalidArgument(registry_.Ready(1, beyond)));
  EXPECT_TRUE(registry_.Ready(1, MakeReady(10)).ok());
}

TEST(StageRegistry, TakesNoMoreBlocksThanSequencesCanFill) {
  v1::StagePlan plan;
  plan.set_num_ranks(1);
  plan.set_block_tokens(64);
  plan.set_max_model_len(100);
  plan.set_max_step_sequences(8);
  StageRegistry registry({plan}, absl::Seconds(1));
  v1::RegisterStage request;
  *request.mutable_peer() = MakePeerInfo("stage-worker");
  request.set_num_ranks(1);
  ASSERT_TRUE(registry.Register(std::make_shared<SilentLink>(), request, MonotonicTime()).ok());
  v1::StageReady ready;
  ready.set_num_blocks(UINT32_MAX);
  ASSERT_TRUE(registry.Ready(0, ready).ok());
  EXPECT_EQ(registry.num_blocks(), 16u);
}

}  // namespace
}  // namespace baton::scheduler
