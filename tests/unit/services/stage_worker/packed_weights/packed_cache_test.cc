#include "services/stage_worker/packed_weights/packed_cache.h"

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"

#include "tests/unit/services/stage_worker/packed_weights/packed_stage.h"

namespace baton::stage {
namespace {

constexpr absl::Duration kWritingLimit = absl::Seconds(30);

// Two devices with a rank each.
class PackedCacheTest : public PackedStage {
 protected:
  struct Devices {
    std::vector<std::unique_ptr<WeightStore>> stores;
    std::vector<WeightStore*> pointers;
  };

  Devices MakeDevices() {
    Devices devices;
    for (const int rank : {0, 1}) {
      WeightStoreOptions options = Options();
      options.first_rank = rank;
      options.num_local_ranks = 1;
      devices.stores.push_back(MakeStore(options));
      devices.pointers.push_back(devices.stores.back().get());
    }
    return devices;
  }
  std::unique_ptr<PackedCache> MakeCache(const Devices& devices) {
    return std::make_unique<PackedCache>(PackedCacheOptions{
        .folder = folder_,
        .max_bytes = kMostBytes,
        .origin = {"build", "model", "checkpoint"},
        .stores = devices.pointers,
        .num_threads = 3,
        .counters = &counters_,
    });
  }
  // Loads what the cache does not have, and keeps it.
  void LoadAndKeep(PackedCache& cache, const Devices& devices, uint64_t num_written) {
    for (WeightStore* store : devices.pointers) {
      if (!store->Finish().ok()) {
        ASSERT_TRUE(checkpoint_.Fill(*store).ok());
      }
    }
    cache.KeepMissing();
    cache.NoteStep();
    const absl::Time deadline = absl::Now() + kWritingLimit;
    while (counters_.num_written < num_written && absl::Now() < deadline) {
      absl::SleepFor(absl::Milliseconds(1));
    }
    EXPECT_EQ(counters_.num_written, num_written);
  }
  void KeepBoth() {
    const Devices devices = MakeDevices();
    const auto cache = MakeCache(devices);
    cache->Adopt();
    LoadAndKeep(*cache, devices, 2);
    EXPECT_EQ(counters_.num_missed, 2u);
    counters_.num_missed = 0;
    counters_.num_written = 0;
  }

  PackedCounters counters_;
};

TEST_F(PackedCacheTest, FillsStoresWithWhatWasKept) {
  KeepBoth();
  const Devices devices = MakeDevices();
  const auto cache = MakeCache(devices);
  EXPECT_EQ(cache->found_bytes(), 0u);
  cache->Adopt();
  EXPECT_EQ(counters_.num_adopted, 2u);
  EXPECT_EQ(counters_.num_missed, 0u);
  uint64_t total_bytes = 0;
  uint64_t file_bytes = 0;
  for (const WeightStore* store : devices.pointers) {
    EXPECT_TRUE(store->Finish().ok());
    total_bytes += store->total_bytes();
    file_bytes += std::filesystem::file_size(PathOf(*store));
  }
  EXPECT_EQ(cache->found_bytes(), total_bytes);
  PackedCacheCounts counts;
  cache->Describe(&counts);
  EXPECT_EQ(counts.mapped_bytes, file_bytes);
  EXPECT_GT(counts.adopt_seconds, 0);
  EXPECT_LE(cache->evictable_bytes(), file_bytes);
}

TEST_F(PackedCacheTest, ADamagedFileGoesAndIsWrittenAnew) {
  KeepBoth();
  const Devices devices = MakeDevices();
  const std::string path = PathOf(*devices.pointers[1]);
  ChangeByte(path, std::filesystem::file_size(path) - 1);
  const auto cache = MakeCache(devices);
  cache->Adopt();
  EXPECT_EQ(counters_.num_adopted, 1u);
  EXPECT_EQ(counters_.num_missed, 1u);
  EXPECT_EQ(counters_.num_damaged, 1u);
  EXPECT_TRUE(devices.pointers[0]->Finish().ok());
  EXPECT_EQ(devices.pointers[1]->received_bytes(), 0u);
  EXPECT_EQ(cache->found_bytes(), devices.pointers[0]->total_bytes());
  EXPECT_FALSE(std::filesystem::exists(path));
  LoadAndKeep(*cache, devices, 1);
  EXPECT_TRUE(std::filesystem::exists(path));
}

TEST_F(PackedCacheTest, AFileThatAStoreRefusesGoesToo) {
  KeepBoth();
  const Devices devices = MakeDevices();
  const std::string path = PathOf(*devices.pointers[0]);
  Rewrite(path, [](auto& file) { ++file.entries.back().n; });
  const auto cache = MakeCache(devices);
  cache->Adopt();
  EXPECT_EQ(counters_.num_damaged, 1u);
  EXPECT_EQ(devices.pointers[0]->received_bytes(), 0u);
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(PackedCacheTest, ALinkStaysAndIsNoDamage) {
  KeepBoth();
  const Devices devices = MakeDevices();
  const std::string path = PathOf(*devices.pointers[0]);
  std::filesystem::rename(path, folder_ + "/elsewhere");
  std::filesystem::create_symlink(folder_ + "/elsewhere", path);
  const auto cache = MakeCache(devices);
  cache->Adopt();
  EXPECT_EQ(counters_.num_adopted, 1u);
  EXPECT_EQ(counters_.num_damaged, 0u);
  EXPECT_TRUE(std::filesystem::is_symlink(path));
}

TEST_F(PackedCacheTest, ACancelledOneFillsNothing) {
  KeepBoth();
  const Devices devices = MakeDevices();
  const auto cache = MakeCache(devices);
  cache->Cancel();
  cache->Adopt();
  EXPECT_EQ(cache->found_bytes(), 0u);
  for (const WeightStore* store : devices.pointers) EXPECT_EQ(store->received_bytes(), 0u);
  EXPECT_EQ(counters_.num_damaged, 0u);
  EXPECT_EQ(FilesOf(folder_).size(), 2u);
}

TEST_F(PackedCacheTest, WritesNothingBeforeAStep) {
  const Devices devices = MakeDevices();
  {
    const auto cache = MakeCache(devices);
    cache->Adopt();
    for (WeightStore* store : devices.pointers) ASSERT_TRUE(checkpoint_.Fill(*store).ok());
    cache->KeepMissing();
  }
  EXPECT_EQ(counters_.num_written, 0u);
  EXPECT_TRUE(FilesOf(folder_).empty());
}

TEST_F(PackedCacheTest, RemovesWhatADeadWriterLeftThoughAllIsFound) {
  KeepBoth();
  std::ofstream(folder_ + "/other.packed.12345678.tmp") << "half";
  const Devices devices = MakeDevices();
  MakeCache(devices)->Adopt();
  EXPECT_EQ(counters_.num_adopted, 2u);
  EXPECT_EQ(FilesOf(folder_).size(), 2u);
}

TEST_F(PackedCacheTest, AFolderOfOthersIsLeftAlone) {
  std::filesystem::create_directory(folder_);
  std::filesystem::permissions(folder_, std::filesystem::perms::all);
  const Devices devices = MakeDevices();
  const auto cache = MakeCache(devices);
  cache->Adopt();
  EXPECT_EQ(counters_.num_missed, 2u);
  EXPECT_TRUE(std::filesystem::is_empty(folder_));  // not even a lock
}

}  // namespace
}  // namespace baton::stage
