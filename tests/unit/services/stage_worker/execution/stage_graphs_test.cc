// Steps in captured graphs, on devices that keep them.
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/fakes/sequence_driver.h"
#include "tests/unit/services/stage_worker/execution/stage_executor_fixture.h"

namespace baton::stage {
namespace {

class CountingTap final : public ActivationTap {
 public:
  void OnTensor(absl::string_view, const TensorView&) override { ++num_seen; }
  void OnExperts(absl::string_view, std::span<const int32_t>) override { ++num_seen; }

  int num_seen = 0;
};

class StageGraphsTest : public StageExecutorTest {};

// Steps of sequences that begin, go on and end, in company of changing size.
std::vector<uint32_t> TokensOf(fakes::StageGroup& group) {
  fakes::SequenceDriver driver(&group);
  std::vector<uint64_t> ids;
  std::vector<uint32_t> tokens;
  for (uint32_t i = 0; i < 5; ++i) {
    ids.push_back(driver.Add(std::vector<uint32_t>(3 + 29 * i, 2 + i), {}));
    EXPECT_TRUE(driver.Generate(ids.back(), 2, 40).ok());
    std::vector<fakes::SequenceDriver::Part> parts;
    for (const uint64_t id : ids) parts.push_back({id, 1});
    EXPECT_TRUE(driver.Step(parts).ok());
  }
  for (const uint64_t id : ids) {
    tokens.insert(tokens.end(), driver.at(id).tokens.begin(), driver.at(id).tokens.end());
    driver.Finish(id);
  }
  return tokens;
}

TEST_F(StageGraphsTest, RunsStepsInGraphsThatAreMadeBeforeTheFirst) {
  const std::vector<uint32_t> expected = TokensOf(*Group(2, 2, 2));
  fakes::GraphCounts counts;
  UseSeparateDevices({.graphs = &counts});
  const auto group = Group(2, 2, 2);
  // Up to 64 rows, tables of up to 4 blocks; two stages of two devices. Each has run once.
  EXPECT_EQ(counts.made, 10 * 2 * 2);
  EXPECT_EQ(counts.run, counts.made);
  EXPECT_EQ(TokensOf(*group), expected);
  EXPECT_EQ(counts.made, 10 * 2 * 2);
  EXPECT_GT(counts.run, counts.made);
  // The cache stays, and the graphs with it.
  ASSERT_TRUE(group->BeginEpoch().ok());
  EXPECT_EQ(TokensOf(*group), expected);
  EXPECT_EQ(counts.made, 10 * 2 * 2);
}

// What the tests of graphs rely on.
TEST(SeparateDevicesDeathTest, EndTheProcessIfAGraphNamesMemoryThatIsGone) {
  const auto host = kernels::CreateReferenceBackend();
  fakes::GraphCounts counts;
  const auto backend = fakes::SeparateDevices(host.get(), {.graphs = &counts});
  const kernels::Team team = *backend->CreateTeam(1, 1);
  kernels::Ops& ops = *team.devices[0].ops;
  const auto residual = *ops.Allocate(64);
  auto delta = *ops.Allocate(64);
  const auto view = [](kernels::DeviceBuffer& buffer) {
    return TensorView{buffer.data(), DataType::kFloat32, 1, 16, 16};
  };
  ASSERT_TRUE(ops.MakeGraph(1,
                            [&] {
                              ops.Add({view(*residual), view(*delta), view(*residual)});
                            })
                  .ok());
  ops.RunGraph(1, [] {});
  delta.reset();
  const auto other = *ops.Allocate(64);  // not where the first lay
  EXPECT_DEATH(ops.RunGraph(1, [] {}), "1 x 16 is not in the device's memory");
}

TEST(SeparateDevicesDeathTest, HaveGraphsGoBeforeTheCollectivesThatTheyCall) {
  const auto host = kernels::CreateReferenceBackend();
  fakes::GraphCounts counts;
  const auto backend = fakes::SeparateDevices(host.get(), {.graphs = &counts});
  kernels::Team team = *backend->CreateTeam(2, 1);
  kernels::Team::Device& device = team.devices[0];
  const auto memory = *device.ops->Allocate(64);
  const TensorView view = {memory->data(), DataType::kFloat32, 1, 16, 16};
  const std::vector<TensorView> parts = {view, view};
  const auto work = [&] { device.collectives->AllReduceSum(parts, view); };
  ASSERT_TRUE(device.ops->MakeGraph(1, work).ok());
  EXPECT_DEATH(device.collectives.reset(), "collectives go before the graphs");
  // And here the team goes, as it should.
}

TEST_F(StageGraphsTest, MakesGraphsAnewForAnotherCache) {
  fakes::GraphCounts counts;
  UseSeparateDevices({.graphs = &counts});
  const auto group = Group(1, 2, 2);
  StageExecutor& executor = group->executor(0);
  EXPECT_EQ(counts.made, 10 * 2);
  ASSERT_TRUE(executor.BeginEpoch({.epoch = 2, .num_blocks = 8}).ok());
  EXPECT_EQ(counts.made, 10 * 2 * 2);
  // Named memory that is gone, graphs of the first cache would end the process here.
  StepWork work = OneToken(1);
  work.epoch = 2;
  work.step_id = 1;
  ASSERT_TRUE(executor.Submit(work).ok());
  EXPECT_TRUE(executor.Drain(absl::Now() + absl::Seconds(20)).ok());
  EXPECT_EQ(counts.run, counts.made + 2);
}

// The first device alone has the tap; its steps would not have the rows of the other's.
TEST_F(StageGraphsTest, RunsNoStepInAGraphWithATap) {
  const std::vector<uint32_t> expected = TokensOf(*Group(1, 2, 2));
  fakes::GraphCounts counts;
  UseSeparateDevices({.graphs = &counts});
  CountingTap tap;
  tap_ = &tap;
  EXPECT_EQ(TokensOf(*Group(1, 2, 2)), expected);
  EXPECT_GT(tap.num_seen, 0);
  EXPECT_EQ(counts.made, 0);
}

TEST_F(StageGraphsTest, RunsStepsOfGraphsThatDoNotFitWithoutThem) {
  const std::vector<uint32_t> expected = TokensOf(*Group(1, 2, 2));
  fakes::GraphCounts counts;
  UseSeparateDevices({.graphs = &counts, .most_graphs = {10, 4}});
  const auto group = Group(1, 2, 2);
  EXPECT_EQ(group->executor(0).graphs().num_graphs, 4u);
  EXPECT_EQ(group->executor(0).graphs().num_refused, 6u);
  EXPECT_EQ(counts.made, 14);
  EXPECT_EQ(counts.run, 4 * 2) << "devices run the same";
  EXPECT_EQ(TokensOf(*group), expected);
  EXPECT_GT(counts.run, 4 * 2) << "the small ones fit";
}

TEST_F(StageGraphsTest, ServesWithoutAnyGraph) {
  const std::vector<uint32_t> expected = TokensOf(*Group(1, 2, 2));
  fakes::GraphCounts counts;
  UseSeparateDevices({.graphs = &counts, .most_graphs = {0, 10}});
  const auto group = Group(1, 2, 2);
  EXPECT_EQ(group->executor(0).graphs().num_graphs, 0u);
  EXPECT_EQ(group->executor(0).graphs().num_refused, 10u);
  EXPECT_EQ(TokensOf(*group), expected);
  EXPECT_EQ(counts.run, 0);
}

TEST_F(StageGraphsTest, TellsHowLongTheGraphsOfTheEpochTook) {
  EXPECT_EQ(Group(1, 1, 1)->executor(0).graphs().time, absl::ZeroDuration());
  fakes::GraphCounts counts;
  UseSeparateDevices({.graphs = &counts});
  const auto group = Group(1, 1, 1);
  EXPECT_GT(group->executor(0).graphs().time, absl::ZeroDuration());
  ASSERT_TRUE(group->BeginEpoch().ok());
  EXPECT_EQ(group->executor(0).graphs().time, absl::ZeroDuration()) << "they stand";
  EXPECT_EQ(group->executor(0).graphs().num_graphs, 10u);
}

}  // namespace
}  // namespace baton::stage
