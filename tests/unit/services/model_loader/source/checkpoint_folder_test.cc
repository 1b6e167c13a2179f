#include "services/model_loader/source/checkpoint_folder.h"

#include <fcntl.h>
#include <filesystem>
#include <span>
#include <string>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "tests/fakes/checkpoint_writer.h"

namespace baton::loader {
namespace {

using testing::TempFolder;
using testing::WriteFile;

std::unique_ptr<CheckpointFolder> Open(const TempFolder& folder, bool follow_links = false) {
  return CheckpointFolder::Open({folder.path(), follow_links}).value();
}

std::string ReadAll(const ByteSource& source, size_t file, uint64_t offset, size_t bytes) {
  std::string text(bytes, '\0');
  const auto count =
      source.ReadAt(file, offset, {reinterpret_cast<std::byte*>(text.data()), text.size()});
  EXPECT_TRUE(count.ok()) << count.status();
  text.resize(count.value_or(0));
  return text;
}

TEST(CheckpointFolder, ReadsByPosition) {
  TempFolder temp("folder_reads");
  WriteFile(temp.File("a.safetensors"), "0123456789");
  const auto folder = Open(temp);
  const size_t file = folder->AddFile("a.safetensors").value();
  EXPECT_EQ(folder->size(file), 10u);
  EXPECT_EQ(ReadAll(*folder, file, 3, 4), "3456");
  EXPECT_EQ(ReadAll(*folder, file, 8, 4), "89");
  EXPECT_EQ(ReadAll(*folder, file, 10, 4), "");
  EXPECT_EQ(ReadAll(*folder, file, 1000, 4), "");
  EXPECT_EQ(folder->AddFile("a.safetensors").value(), file);
}

TEST(CheckpointFolder, ReadsIntoSeveralPlaces) {
  TempFolder temp("folder_pieces");
  WriteFile(temp.File("a.safetensors"), "0123456789");
  const auto folder = Open(temp);
  const size_t file = folder->AddFile("a.safetensors").value();
  std::string text = "........";
  const auto bytes = std::as_writable_bytes(std::span(text));
  const std::vector<std::span<std::byte>> pieces = {bytes.subspan(5, 2), bytes.subspan(0, 3)};
  EXPECT_EQ(folder->ReadAt(file, 2, pieces).value(), 5u);
  EXPECT_EQ(text, "456..23.");
  EXPECT_EQ(folder->ReadAt(file, 9, pieces).value(), 1u);
  EXPECT_EQ(text, "456..93.");
}

TEST(CheckpointFolder, RefusesNamesThatLeaveIt) {
  TempFolder temp("folder_names");
  const auto folder = Open(temp);
  const std::vector<std::string> names = {"",
                                          ".",
                                          "..",
                                          "../x",
                                          "/etc/passwd",
                                          "a/b",
                                          "a/../b",
                                          "./a",
                                          std::string("a\0b", 3),
                                          std::string(256, 'a'),
                                          "..\x2f.",
                                          "a/",
                                          "//"};
  for (const std::string& name : names) {
    EXPECT_EQ(folder->AddFile(name).status().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_FALSE(folder->Contains(name)) << name;
  }
}

TEST(CheckpointFolder, RefusesWhatIsNoRegularFile) {
  TempFolder temp("folder_kinds");
  std::filesystem::create_directory(temp.File("directory"));
  ASSERT_EQ(mkfifo(temp.File("pipe").c_str(), 0600), 0);
  const auto folder = Open(temp);
  EXPECT_EQ(folder->AddFile("directory").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(folder->AddFile("pipe").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(folder->AddFile("missing").status().code(), absl::StatusCode::kNotFound);
}

TEST(CheckpointFolder, FollowsLinksOnlyWhenTold) {
  TempFolder temp("folder_links");
  TempFolder other("folder_links_target");
  WriteFile(other.File("blob"), "data");
  ASSERT_EQ(symlink(other.File("blob").c_str(), temp.File("a.safetensors").c_str()), 0);
  const absl::Status refused = Open(temp)->AddFile("a.safetensors").status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(refused.message().find("--follow-links"), std::string::npos) << refused;
  const auto following = Open(temp, /*follow_links=*/true);
  const auto file = following->AddFile("a.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(ReadAll(*following, *file, 0, 10), "data");
  ASSERT_EQ(symlink("/dev/zero", temp.File("zero").c_str()), 0);
  EXPECT_FALSE(following->AddFile("zero").ok());
}

TEST(CheckpointFolder, NoticesTruncationAndWrites) {
  TempFolder temp("folder_changes");
  WriteFile(temp.File("a"), "0123456789");
  WriteFile(temp.File("b"), "0123456789");
  const auto folder = Open(temp);
  const size_t a = folder->AddFile("a").value();
  const size_t b = folder->AddFile("b").value();
  EXPECT_TRUE(folder->CheckUnchanged(a).ok());
  std::filesystem::resize_file(temp.File("a"), 4);
  EXPECT_EQ(folder->CheckUnchanged(a).code(), absl::StatusCode::kDataLoss);
  std::filesystem::resize_file(temp.File("b"), 40);
  EXPECT_EQ(folder->CheckUnchanged(b).code(), absl::StatusCode::kFailedPrecondition);
}

TEST(CheckpointFolder, TellsWhichShareIsCached) {
  TempFolder temp("cached_share");
  constexpr size_t kBytes = 1 << 20;
  for (const char* name : {"a", "b"}) {
    WriteFile(temp.File(name), std::string(kBytes, 'x'));
    const int file = open(temp.File(name).c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_GE(file, 0);
    ASSERT_EQ(fsync(file), 0);
    ASSERT_EQ(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED), 0);
    close(file);
  }
  const auto opened = Open(temp);
  EXPECT_EQ(opened->CachedShare(64).value(), 1.0);  // of no file
  ASSERT_TRUE(opened->AddFile("a").ok());
  ASSERT_TRUE(opened->AddFile("b").ok());
  const absl::StatusOr<double> before = opened->CachedShare(4);
  if (absl::IsUnimplemented(before.status())) GTEST_SKIP() << before.status();
  if (*before == 1.0) GTEST_SKIP() << "this file system lies in memory";
  EXPECT_EQ(*before, 0.0);
  ASSERT_EQ(ReadAll(*opened, 1, 0, kBytes).size(), kBytes);
  // Half of it, and a page at each place that was asked about before.
  EXPECT_NEAR(opened->CachedShare(64).value(), 0.5, 0.05);
}

TEST(CheckpointFolder, ListsRegularFiles) {
  TempFolder temp("folder_list");
  WriteFile(temp.File("b"), "");
  WriteFile(temp.File("a"), "");
  std::filesystem::create_directory(temp.File("c"));
  EXPECT_EQ(Open(temp)->ListFiles().value(), (std::vector<std::string>{"a", "b"}));
}

TEST(CheckpointFolder, MustBeAFolder) {
  TempFolder temp("folder_itself");
  WriteFile(temp.File("a"), "");
  EXPECT_EQ(CheckpointFolder::Open({temp.File("a")}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CheckpointFolder::Open({temp.File("none")}).status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace baton::loader
