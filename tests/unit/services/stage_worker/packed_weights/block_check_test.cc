#include "services/stage_worker/packed_weights/block_check.h"

#include <atomic>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "gtest/gtest.h"

#include "tests/unit/services/stage_worker/packed_weights/packed_stage.h"

namespace baton::stage {
namespace {

class BlockCheckTest : public LargePackedStage {
 protected:
  BlockCheckTest() : store_(MakeFilled()) {
    const uint64_t bytes = Write(*store_).value();
    last_byte_ = bytes - 1;
  }
  // Two mappings of one file.
  std::vector<std::shared_ptr<PackedFile>> OpenTwice() {
    return {*Open(*store_), nullptr, *Open(*store_)};
  }

  const std::unique_ptr<WeightStore> store_;
  uint64_t last_byte_ = 0;
};

TEST_F(BlockCheckTest, LooksAtEveryBlockOnceWithAnyNumberOfThreads) {
  const auto files = OpenTwice();
  const size_t num_blocks = files[0]->num_blocks();
  ASSERT_GE(num_blocks, 3u);
  for (const int num_threads : {1, 3, 100}) {
    absl::Mutex mutex;
    std::multiset<std::pair<size_t, size_t>> seen;
    const auto results = CheckAllBlocks(
        files, {.num_threads = num_threads, .on_good = [&](size_t file, size_t block) {
                  const absl::MutexLock lock(&mutex);
                  seen.insert({file, block});
                }});
    ASSERT_EQ(results.size(), 3u);
    for (const absl::Status& status : results) EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(seen.size(), 2 * num_blocks);
    EXPECT_EQ(std::set(seen.begin(), seen.end()).size(), 2 * num_blocks);
  }
}

TEST_F(BlockCheckTest, TellsWhichFileIsDamagedAndFinishesTheOther) {
  const auto damaged = *Open(*store_);
  // Another file takes the name, and what had it is changed under its own.
  std::filesystem::rename(PathOf(*store_), folder_ + "/damaged");
  std::filesystem::copy_file(folder_ + "/damaged", PathOf(*store_));
  const auto whole = *Open(*store_);
  ChangeByte(folder_ + "/damaged", last_byte_);
  const std::vector<std::shared_ptr<PackedFile>> files = {damaged, whole};
  for (const int num_threads : {1, 4}) {
    const auto results = CheckAllBlocks(files, {.num_threads = num_threads});
    EXPECT_EQ(results[0].code(), absl::StatusCode::kDataLoss);
    EXPECT_TRUE(
        absl::StrContains(results[0].message(), absl::StrCat("block ", damaged->num_blocks() - 1)))
        << results[0];
    EXPECT_TRUE(results[1].ok()) << results[1];
  }
}

TEST_F(BlockCheckTest, EndsWhenItIsToGoOnNoLonger) {
  const auto files = OpenTwice();
  std::atomic<int> calls{0};
  const auto results =
      CheckAllBlocks(files, {.num_threads = 2, .goes_on = [&] { return ++calls <= 2; }});
  EXPECT_EQ(results[0].code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(results[1].ok());
  EXPECT_EQ(results[2].code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace baton::stage
