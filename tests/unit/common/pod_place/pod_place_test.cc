#include "common/pod_place/pod_place.h"

#include <map>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton {
namespace {

using testing::AllOf;
using testing::HasSubstr;

absl::StatusOr<PodPlace> Read(const std::map<std::string, std::string>& variables) {
  return ReadPodPlace([&variables](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

TEST(PodPlace, IsEmptyOutsideOfKubernetes) {
  const auto place = Read({});
  ASSERT_TRUE(place.ok());
  EXPECT_EQ(place->leader_address, "");
  EXPECT_FALSE(place->group_size.has_value());
  EXPECT_FALSE(StageOfPod(*place, false)->has_value());
  EXPECT_FALSE(StagesOfGroup(*place, true).has_value());
}

TEST(PodPlace, HoldsWhatLeaderWorkerSetSets) {
  const auto place = Read({{"LWS_LEADER_ADDRESS", "baton-0.baton.default"},
                           {"LWS_GROUP_SIZE", "3"},
                           {"LWS_WORKER_INDEX", "2"},
                           {"POD_IP", "10.0.0.7"}});
  ASSERT_TRUE(place.ok());
  EXPECT_EQ(place->leader_address, "baton-0.baton.default");
  EXPECT_EQ(place->group_size, 3u);
  EXPECT_EQ(place->worker_index, 2u);
  EXPECT_EQ(place->pod_ip, "10.0.0.7");
}

TEST(PodPlace, NamesAVariableThatIsNoNumber) {
  EXPECT_THAT(std::string(Read({{"LWS_GROUP_SIZE", "two"}}).status().message()),
              AllOf(HasSubstr("LWS_GROUP_SIZE"), HasSubstr("two")));
  EXPECT_EQ(Read({{"LWS_WORKER_INDEX", "-1"}}).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(PodPlace, RefusesAnIndexBeyondTheGroup) {
  const auto place = Read({{"LWS_GROUP_SIZE", "2"}, {"LWS_WORKER_INDEX", "2"}});
  EXPECT_EQ(place.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(PodPlace, CountsStagesFromTheFirstWorker) {
  EXPECT_EQ(*StageOfPod({.worker_index = 1}, false), 0u);
  EXPECT_EQ(*StageOfPod({.worker_index = 2}, false), 1u);
  EXPECT_EQ(StagesOfGroup({.group_size = 3}, false), 2u);
}

TEST(PodPlace, CountsStagesFromTheLeaderThatIsOne) {
  EXPECT_EQ(*StageOfPod({.worker_index = 0}, true), 0u);
  EXPECT_EQ(*StageOfPod({.worker_index = 1}, true), 1u);
  EXPECT_EQ(StagesOfGroup({.group_size = 2}, true), 2u);
}

TEST(PodPlace, RefusesALeaderThatIsNoStage) {
  EXPECT_THAT(std::string(StageOfPod({.worker_index = 0}, false).status().message()),
              HasSubstr("--leader-is-stage"));
}

TEST(PodPlace, KnowsNoStagesInAGroupOfOne) {
  EXPECT_FALSE(StagesOfGroup({.group_size = 1}, false).has_value());
}

TEST(PodPlace, AdvertisesThePodWhereItListensEverywhere) {
  const PodPlace pod{.pod_ip = "10.0.0.7"};
  EXPECT_EQ(AdvertisedAddress("0.0.0.0:50053", 50053, pod), "10.0.0.7:50053");
  EXPECT_EQ(AdvertisedAddress("[::]:0", 41000, {.pod_ip = "fd00::7"}), "[fd00::7]:41000");
  EXPECT_EQ(AdvertisedAddress("10.1.1.1:0", 41000, pod), "10.1.1.1:41000");
  EXPECT_EQ(AdvertisedAddress("[fd00::1]:0", 41000, pod), "[fd00::1]:41000");
  EXPECT_EQ(AdvertisedAddress("0.0.0.0:0", 41000, {}), "0.0.0.0:41000");
}

}  // namespace
}  // namespace baton
