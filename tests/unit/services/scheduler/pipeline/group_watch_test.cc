#include "services/scheduler/pipeline/group_watch.h"

#include "gtest/gtest.h"

namespace baton::scheduler {
namespace {

class Recorder final : public GroupWatcher {
 public:
  void Notify(const v1::GroupState& state) override { epochs.push_back(state.epoch()); }
  void End() override { ended = true; }
  std::vector<uint64_t> epochs;
  bool ended = false;
};

v1::GroupState MakeState(uint64_t epoch) {
  v1::GroupState state;
  state.set_epoch(epoch);
  return state;
}

TEST(GroupWatch, TellsTheCurrentStateAndEveryLaterOne) {
  GroupWatch watch;
  auto early = std::make_shared<Recorder>();
  EXPECT_TRUE(watch.Add(early));
  watch.Publish(MakeState(1));
  auto late = std::make_shared<Recorder>();
  EXPECT_TRUE(watch.Add(late));
  watch.Publish(MakeState(2));
  EXPECT_EQ(early->epochs, (std::vector<uint64_t>{1, 2}));
  EXPECT_EQ(late->epochs, (std::vector<uint64_t>{1, 2}));
}

TEST(GroupWatch, ForgetsWatchersThatAreGone) {
  GroupWatch watch;
  for (int i = 0; i < 200; ++i) EXPECT_TRUE(watch.Add(std::make_shared<Recorder>()));
  watch.Publish(MakeState(1));
}

TEST(GroupWatch, RefusesTooManyWatchers) {
  GroupWatch watch;
  std::vector<std::shared_ptr<Recorder>> kept;
  do {
    kept.push_back(std::make_shared<Recorder>());
  } while (watch.Add(kept.back()) && kept.size() < 1000);
  EXPECT_EQ(kept.size(), 65u);
}

TEST(GroupWatch, EndsPresentAndLaterWatchersOnceClosed) {
  GroupWatch watch;
  auto present = std::make_shared<Recorder>();
  watch.Add(present);
  watch.Close();
  auto late = std::make_shared<Recorder>();
  watch.Add(late);
  EXPECT_TRUE(present->ended && late->ended);
}

}  // namespace
}  // namespace baton::scheduler
