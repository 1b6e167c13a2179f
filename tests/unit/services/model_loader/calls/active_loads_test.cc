#include "services/model_loader/calls/active_loads.h"

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "tests/fakes/fake_byte_source.h"
#include "tests/fakes/fake_chunk_sender.h"

namespace baton::loader {
namespace {

// A transfer of one tensor whose read does not come back.
class HangingTransfer {
 public:
  HangingTransfer()
      : source_({std::string(4096, 'x')}),
        tensor_{"the.tensor", "U8", {1, 4096}, 0, 0, 4096},
        plan_(BuildReadPlan({{CheckedSlice{&tensor_, 4096, 1, 0, 1, 0, 4096}}}, {})),
        sender_({4096}),
        reader_(RangeReader::Create({.num_threads = 1, .read_deadline = absl::Hours(1)}, &source_)
                    .value()),
        transfer_(SliceTransferOptions{.num_threads = 1}, &plan_, reader_.get(), {&sender_},
                  &progress_) {
    source_.HangNext(1000);
  }
  ~HangingTransfer() { source_.Release(); }

  SliceTransfer* transfer() { return &transfer_; }
  void AwaitHang() { source_.AwaitHang(); }

 private:
  testing::FakeByteSource source_;
  StoredTensor tensor_;
  ReadPlan plan_;
  testing::FakeChunkSender sender_;
  std::unique_ptr<RangeReader> reader_;
  LoadProgress progress_;
  SliceTransfer transfer_;
};

TEST(ActiveLoads, HasAMostAndCountsThoseThatLeft) {
  ActiveLoads loads(2);
  EXPECT_TRUE(loads.Enter().ok());
  EXPECT_TRUE(loads.Enter().ok());
  const absl::Status third = loads.Enter();
  EXPECT_TRUE(absl::IsResourceExhausted(third)) << third;
  EXPECT_NE(third.message().find("2 loads"), std::string::npos) << third;
  loads.Leave();
  EXPECT_TRUE(loads.Enter().ok());
}

TEST(ActiveLoads, DrainsAtOnceWhenIdleAndRefusesFromThenOn) {
  ActiveLoads loads(2);
  EXPECT_TRUE(loads.Drain(absl::InfinitePast()));
  EXPECT_TRUE(absl::IsUnavailable(loads.Enter()));
}

TEST(ActiveLoads, DrainWaitsForTheLastToLeave) {
  ActiveLoads loads(1);
  ASSERT_TRUE(loads.Enter().ok());
  bool left = false;
  std::thread load([&] {
    while (loads.Enter().code() != absl::StatusCode::kUnavailable) std::this_thread::yield();
    left = true;  // the drain has begun
    loads.Leave();
  });
  EXPECT_TRUE(loads.Drain(absl::InfiniteFuture()));
  EXPECT_TRUE(left);
  load.join();
}

TEST(ActiveLoads, DrainCancelsWhatIsLeftAtItsDeadline) {
  HangingTransfer hanging;
  ActiveLoads loads(1);
  ASSERT_TRUE(loads.Enter().ok());
  loads.Attach(hanging.transfer());
  absl::Status end;
  std::thread load([&] { end = hanging.transfer()->Run(); });
  hanging.AwaitHang();
  EXPECT_FALSE(loads.Drain(absl::InfinitePast()));
  load.join();
  EXPECT_TRUE(absl::IsUnavailable(end)) << end;
  EXPECT_NE(end.message().find("stops"), std::string::npos) << end;
  loads.Detach(hanging.transfer());
  loads.Leave();
}

TEST(ActiveLoads, ATransferThatBeginsAfterThatIsCancelledAtOnce) {
  HangingTransfer hanging;
  ActiveLoads loads(1);
  ASSERT_TRUE(loads.Enter().ok());
  EXPECT_FALSE(loads.Drain(absl::InfinitePast()));
  loads.Attach(hanging.transfer());
  EXPECT_TRUE(absl::IsUnavailable(hanging.transfer()->Run()));
  loads.Detach(hanging.transfer());
  loads.Leave();
}

}  // namespace
}  // namespace baton::loader
