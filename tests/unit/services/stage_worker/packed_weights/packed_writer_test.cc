#include "services/stage_worker/packed_weights/packed_writer.h"

#include <chrono>
#include <csignal>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gmock/gmock.h"

#include "tests/unit/services/stage_worker/packed_weights/packed_stage.h"

namespace baton::stage {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class PackedWriterTest : public PackedStage {
 protected:
  // Makes another file of a file's bytes, last used so many hours ago.
  void CopyAs(const std::string& from, const std::string& name, int age) {
    const std::string copy = folder_ + "/" + name;
    std::filesystem::copy_file(folder_ + "/" + from, copy);
    std::filesystem::last_write_time(
        copy, std::filesystem::file_time_type::clock::now() - std::chrono::hours(age));
  }
};

class LargePackedWriterTest : public LargePackedStage {
 protected:
  // Writes a filled store, and calls `meanwhile` before its `call`-th look whether to go on.
  absl::Status WriteAnd(const WeightStore& store, int call,
                        const std::function<bool()>& meanwhile) {
    int calls = 0;
    return WritePacked(Folder(), store,
                       {.key = KeyOf(store),
                        .max_bytes = kMostBytes,
                        .goes_on = [&] { return ++calls != call || meanwhile(); }})
        .status();
  }
};

TEST_F(PackedWriterTest, WhatDoesNotFitLeavesNothing) {
  const auto store = MakeFilled();
  const absl::Status bounded = Write(*store, 4096).status();
  EXPECT_EQ(bounded.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(bounded.message()), HasSubstr("at most 4096"));
  rlimit before = {};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small = {1 << 20, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const absl::Status limited = Write(*store).status();
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(limited.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(FilesOf(folder_).empty());
}

TEST_F(LargePackedWriterTest, AFailureInTheMiddleLeavesNothing) {
  const auto store = MakeFilled();
  rlimit before = {};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto ignored = std::signal(SIGXFSZ, SIG_IGN);
  const absl::Status status = WriteAnd(*store, 2, [&] {
    EXPECT_EQ(FilesOf(folder_).size(), 1u);
    const rlimit small = {kBlockBytes, before.rlim_max};
    return setrlimit(RLIMIT_FSIZE, &small) == 0;
  });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, ignored);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_TRUE(FilesOf(folder_).empty());
  EXPECT_TRUE(Write(*store).ok());
}

TEST_F(LargePackedWriterTest, AnEndInTheMiddleLeavesNothing) {
  const auto store = MakeFilled();
  for (int call = 1;; ++call) {
    bool was_asked = false;
    const absl::Status status = WriteAnd(*store, call, [&] {
      was_asked = true;
      return false;
    });
    if (!was_asked) {
      EXPECT_TRUE(status.ok()) << status;
      EXPECT_GT(call, 4);  // before each block, and each wait for one
      break;
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kCancelled) << "call " << call;
    EXPECT_TRUE(FilesOf(folder_).empty()) << "call " << call;
  }
  EXPECT_THAT(FilesOf(folder_), ElementsAre(KeyOf(*store).file_name));
}

TEST_F(LargePackedWriterTest, ABoundCountsWhatOthersAreWriting) {
  const auto store = MakeFilled();
  const uint64_t bytes = *Write(*store);
  std::filesystem::remove(PathOf(*store));
  absl::Status second;
  const auto write_another = [&](uint64_t max_bytes) {
    return WritePacked(Folder(), *store, {.key = KeyOf(*store, "two"), .max_bytes = max_bytes})
        .status();
  };
  ASSERT_TRUE(WriteAnd(*store, 2, [&] {
                second = write_another(2 * bytes - 1);
                return true;
              }).ok());
  EXPECT_EQ(second.code(), absl::StatusCode::kResourceExhausted) << second;
  EXPECT_THAT(FilesOf(folder_), ElementsAre(KeyOf(*store).file_name));
  std::filesystem::remove(PathOf(*store));
  ASSERT_TRUE(WriteAnd(*store, 2, [&] {
                second = write_another(2 * bytes);
                return true;
              }).ok());
  EXPECT_TRUE(second.ok()) << second;
}

TEST_F(LargePackedWriterTest, OfTwoWritersOfAKeyOneWrites) {
  const auto store = MakeFilled();
  absl::Status second;
  ASSERT_TRUE(WriteAnd(*store, 2, [&] {
                second = Write(*store).status();
                return true;
              }).ok());
  EXPECT_EQ(second.code(), absl::StatusCode::kAlreadyExists) << second;
  EXPECT_THAT(std::string(second.message()), HasSubstr("is being written"));
  const absl::Status third = Write(*store).status();
  EXPECT_EQ(third.code(), absl::StatusCode::kAlreadyExists) << third;
  EXPECT_THAT(std::string(third.message()), HasSubstr("is there already"));
  const auto file = Open(*store);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_GE((*file)->num_blocks(), 3u);
  for (size_t block = 0; block < (*file)->num_blocks(); ++block) {
    EXPECT_TRUE((*file)->CheckBlock(block).ok());
  }
}

TEST_F(PackedWriterTest, ReplacesAFileThatIsOfNoUse) {
  const auto store = MakeFilled();
  ASSERT_TRUE(Write(*store).ok());
  chmod(PathOf(*store).c_str(), 0620);
  ASSERT_FALSE(Open(*store).ok());
  EXPECT_TRUE(Write(*store).ok());
  EXPECT_TRUE(Open(*store).ok());
}

TEST_F(PackedWriterTest, RemovesWhatTheStageHadBeforeUnlessSomebodyUsesIt) {
  const auto store = MakeFilled();
  const auto write = [&](const PackedKey& key) {
    return WritePacked(Folder(), *store, {.key = key, .max_bytes = kMostBytes}).ok();
  };
  const PackedKey keys[] = {KeyOf(*store, "one"), KeyOf(*store, "two"),
                            KeyOf(*store, "two", "newer"), KeyOf(*store, "three")};
  ASSERT_TRUE(write(keys[0]));
  CopyAs(keys[0].file_name, "ffff.packed", 1);  // another stage's
  ASSERT_TRUE(write(keys[1]));
  EXPECT_THAT(FilesOf(folder_), testing::UnorderedElementsAre(keys[1].file_name, "ffff.packed"));
  const auto used = PackedFile::Open(Folder(), keys[1]);
  ASSERT_TRUE(used.ok());
  ASSERT_TRUE(write(keys[2]));
  ASSERT_TRUE(write(keys[3]));
  EXPECT_THAT(FilesOf(folder_),
              testing::UnorderedElementsAre(keys[1].file_name, keys[3].file_name, "ffff.packed"));
}

TEST_F(PackedWriterTest, MakesRoomWithTheLeastLatelyUsedThatNobodyHasOpen) {
  const auto store = MakeFilled();
  const uint64_t bytes = *Write(*store);
  const std::string name = KeyOf(*store).file_name;
  CopyAs(name, "used.packed", 3);
  CopyAs(name, "old.packed", 2);
  CopyAs(name, "young.packed", 1);
  CopyAs(name, "dead.tmp", 1);
  const auto used = Folder().OpenFile("used.packed");
  ASSERT_TRUE(used.ok());
  std::filesystem::remove(PathOf(*store));
  // Without room in the end nothing goes but what a dead writer left.
  EXPECT_FALSE(Write(*store, bytes + bytes / 2).ok());
  EXPECT_THAT(FilesOf(folder_),
              testing::UnorderedElementsAre("used.packed", "old.packed", "young.packed"));
  ASSERT_TRUE(Write(*store, 3 * bytes + bytes / 2).ok());
  EXPECT_THAT(FilesOf(folder_), testing::UnorderedElementsAre("used.packed", "young.packed", name));
}

TEST_F(PackedWriterTest, WhatAKilledWriterLeftIsNotUsedAndGoesWithTheNext) {
  const auto store = MakeFilled();
  const PackedFolder folder = Folder();
  const std::string name = KeyOf(*store).file_name;
  const pid_t child = fork();
  if (child == 0) {
    const auto file = folder.Begin({name, 4096, kMostBytes});
    if (file.ok() && write(file->file.get(), "half", 4) == 4) raise(SIGKILL);
    _exit(1);
  }
  int ending = 0;
  ASSERT_EQ(waitpid(child, &ending, 0), child);
  ASSERT_TRUE(WIFSIGNALED(ending));
  ASSERT_EQ(FilesOf(folder_).size(), 1u);
  EXPECT_EQ(Open(*store).status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(Write(*store).ok());
  EXPECT_THAT(FilesOf(folder_), ElementsAre(name));
  EXPECT_TRUE(Open(*store).ok());
}

}  // namespace
}  // namespace baton::stage
