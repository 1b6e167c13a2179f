#include "services/stage_worker/packed_weights/packed_file.h"

#include <cstdint>
#include <limits>
#include <sys/stat.h>
#include <unistd.h>

#include "gmock/gmock.h"

#include "tests/fakes/compact_weights.h"
#include "tests/unit/services/stage_worker/packed_weights/packed_stage.h"

namespace baton::stage {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class PackedFileTest : public PackedStage {};

TEST_F(PackedFileTest, GivesAnotherStoreTheSameBytes) {
  const auto store = MakeFilled();
  const auto bytes = Write(*store);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(*bytes, std::filesystem::file_size(PathOf(*store)));
  auto file = Open(*store);
  ASSERT_TRUE(file.ok()) << file.status();
  for (size_t block = 0; block < (*file)->num_blocks(); ++block) {
    EXPECT_TRUE((*file)->CheckBlock(block).ok());
  }
  const auto adopted = MakeStore();
  ASSERT_TRUE(adopted->Adopt((*file)->placed(), *file).ok());
  file->reset();  // the store keeps it
  EXPECT_TRUE(adopted->Finish().ok());
  EXPECT_EQ(adopted->received_bytes(), adopted->total_bytes());
  EXPECT_EQ(adopted->resident_bytes(), store->resident_bytes());
  EXPECT_EQ(BytesOf(*adopted), BytesOf(*store));
}

// Of each rank's half of the head the second panel is not compact.
TEST_F(PackedFileTest, GivesCompactPanelsBackUnlessTheyAreDamaged) {
  fakes::CompactDevice device;
  const auto make = [&] { return *WeightStore::Create(Options(), device.ops()); };
  fakes::MemoryCheckpoint checkpoint = checkpoint_;
  fakes::ScatterRows("lm_head.weight", 46, 14, &checkpoint);
  fakes::ScatterRows("lm_head.weight", 16, 14, &checkpoint);
  const auto store = make();
  ASSERT_TRUE(checkpoint.Fill(*store).ok());
  ASSERT_TRUE(Write(*store).ok());
  const auto file = Open(*store);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->placed().back().image.pieces.size(), 3u);
  const auto adopted = make();
  ASSERT_TRUE(adopted->Adopt((*file)->placed(), *file).ok());
  EXPECT_EQ(adopted->resident_bytes(), store->resident_bytes());
  EXPECT_EQ(BytesOf(*adopted), BytesOf(*store));
  EXPECT_EQ(Open(*MakeStore()).status().code(), absl::StatusCode::kNotFound);
  // The first panel's list of strays without its end, as if no checksum told.
  FilePiece elements = {};
  Rewrite(PathOf(*store), [&](auto& parts) { elements = parts.pieces[parts.pieces.size() - 3]; });
  ChangeByte(PathOf(*store), elements.begin + elements.bytes / 2 - 1);
  const auto damaged = Open(*store);
  ASSERT_TRUE(damaged.ok()) << damaged.status();
  const absl::Status status = make()->Adopt((*damaged)->placed(), *damaged);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("lm_head.weight"));
  EXPECT_FALSE((*damaged)->CheckBlock(0).ok());
}

TEST_F(PackedFileTest, IsFoundUnderItsOwnKeyAlone) {
  const auto store = MakeFilled();
  ASSERT_TRUE(Write(*store).ok());
  std::vector<WeightStoreOptions> others(6, Options());
  others[0].stage.layer_end = 2;
  others[1].stage.has_head = false;
  others[2].num_local_ranks = 1;
  others[3].compute_type = DataType::kFloat32;
  others[4].expand_prompts = false;
  others[5].num_ranks = 3;
  for (const WeightStoreOptions& options : others) {
    EXPECT_EQ(Open(*MakeStore(options)).status().code(), absl::StatusCode::kNotFound);
  }
  for (const PackedKey& key : {KeyOf(*store, "another"), KeyOf(*store, "checkpoint", "newer")}) {
    EXPECT_EQ(PackedFile::Open(Folder(), key).status().code(), absl::StatusCode::kNotFound);
    EXPECT_THAT(KeyOf(*store).file_name, StartsWith(key.stage_prefix));
  }
  // A file in the other's place is known by the key in it.
  const auto other = MakeStore(others[4]);
  std::filesystem::copy_file(PathOf(*store), PathOf(*other));
  EXPECT_EQ(Open(*other).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(PackedFileTest, RefusesFilesThatAreShortOrLongOrDamagedInTheHeader) {
  const auto store = MakeFilled();
  const uint64_t bytes = *Write(*store);
  const std::string path = PathOf(*store);
  const uint64_t header_bytes = 72 + 300 + 64;  // at least: header, key, entries
  for (uint64_t position = 0; position < header_bytes; position += 7) {
    ChangeByte(path, position);
    const absl::Status status = Open(*store).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << position;
    EXPECT_THAT(std::string(status.message()), HasSubstr(path));
    ChangeByte(path, position);
    ASSERT_TRUE(Open(*store).ok());
  }
  for (const uint64_t size : {bytes + 1, bytes - 1, uint64_t{100}, uint64_t{10}, uint64_t{0}}) {
    std::filesystem::resize_file(path, size);
    EXPECT_EQ(Open(*store).status().code(), absl::StatusCode::kDataLoss) << size;
  }
}

TEST_F(PackedFileTest, RefusesAHeaderThatLiesUnderARightChecksum) {
  const auto store = MakeFilled();
  const uint64_t bytes = *Write(*store);
  const std::string path = PathOf(*store);
  constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
  const FileChange changes[] = {
      [](auto& file) { file.header.header_bytes = sizeof(FileHeader) - 8; },
      [](auto& file) { file.header.header_bytes = kMost; },
      [](auto& file) { file.header.header_bytes += 8; },
      [](auto& file) { file.header.data_begin += kDataAlignment; },
      [](auto& file) { file.header.data_begin = 0; },
      [](auto& file) { file.header.key_bytes = kMost; },
      [](auto& file) { file.header.key_bytes -= 1; },
      [](auto& file) { file.header.num_entries = 0; },
      [](auto& file) { file.header.num_entries = kMost / sizeof(FileEntry); },
      [](auto& file) { file.header.num_entries += 1; },
      [](auto& file) { file.header.num_pieces = 0; },
      [](auto& file) { file.header.num_pieces = kMost / sizeof(FilePiece); },
      [](auto& file) { file.header.num_pieces += 4, file.header.num_entries -= 1; },
      [](auto& file) { file.header.num_blocks = kMost / sizeof(uint32_t); },
      [](auto& file) { file.header.num_blocks += 16, file.header.num_entries -= 1; },
      [](auto& file) { file.entries[0].kind = 9; },
      [](auto& file) { file.entries[0].num_pieces = kMost; },
      [](auto& file) { ++file.entries[0].num_pieces; },
      [](auto& file) { --file.entries[0].num_pieces; },
      [](auto& file) { file.pieces[0].begin = 0; },
      [](auto& file) { file.pieces[1].begin = kMost - 64; },
      [bytes](auto& file) { file.pieces[1].begin = bytes + 64; },
      [bytes](auto& file) { file.pieces.back().bytes = bytes; },
      [](auto& file) { file.pieces.back().bytes = kMost; },
  };
  for (size_t i = 0; i < std::size(changes); ++i) {
    const std::string copy = path + ".copy";
    std::filesystem::copy_file(path, copy);
    Rewrite(path, changes[i]);
    const absl::Status status = Open(*store).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << "case " << i << ": " << status;
    EXPECT_THAT(std::string(status.message()), testing::Not(HasSubstr("damaged header"))) << i;
    std::filesystem::rename(copy, path);
  }
  Rewrite(path, [](auto&) {});
  EXPECT_TRUE(Open(*store).ok());
}

TEST_F(PackedFileTest, AStoreRefusesWeightsOfAnotherShapeUnderARightChecksum) {
  const auto store = MakeFilled();
  ASSERT_TRUE(Write(*store).ok());
  // Of the last weight, its elements.
  const auto last = [](FileParts& file) -> FilePiece& {
    return file.pieces[file.pieces.size() - file.entries.back().num_pieces];
  };
  const FileChange changes[] = {
      [](auto& file) { ++file.entries.back().n; },
      [](auto& file) { file.entries.back().k = -1; },
      [](auto& file) { file.entries.back() = {}; },
      [](auto& file) { file.entries[0].form[0] = 77; },
      [](auto& file) { ++file.entries[0].num_pieces, --file.entries.back().num_pieces; },
      [last](auto& file) { last(file).bytes -= 64; },
      [last](auto& file) { last(file).begin += 4; },
      [](auto& file) { std::swap(file.entries[0], file.entries.back()); },
  };
  for (size_t i = 0; i < std::size(changes); ++i) {
    const std::string copy = PathOf(*store) + ".copy";
    std::filesystem::copy_file(PathOf(*store), copy);
    Rewrite(PathOf(*store), changes[i]);
    const auto file = Open(*store);
    // An entry of zeros, or a piece that is moved, may already be none of this file.
    const absl::Status status =
        file.ok() ? MakeStore()->Adopt((*file)->placed(), *file) : file.status();
    EXPECT_TRUE(absl::IsInvalidArgument(status) || absl::IsDataLoss(status))
        << "case " << i << ": " << status;
    std::filesystem::rename(copy, PathOf(*store));
  }
}

TEST_F(PackedFileTest, TellsWhichBlockIsDamaged) {
  const auto store = MakeFilled();
  const uint64_t bytes = *Write(*store);
  ChangeByte(PathOf(*store), bytes - 100);
  const auto file = Open(*store);
  ASSERT_TRUE(file.ok()) << file.status();
  const absl::Status status = (*file)->CheckBlock((*file)->num_blocks() - 1);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr(PathOf(*store)));
  EXPECT_THAT(std::string(status.message()), HasSubstr("wrong checksum of block 0"));
}

TEST_F(PackedFileTest, AFileCutUnderItsReaderIsAnErrorOfTheCheck) {
  const auto store = MakeFilled();
  ASSERT_TRUE(Write(*store).ok());
  const auto file = Open(*store);
  ASSERT_TRUE(file.ok());
  std::filesystem::resize_file(PathOf(*store), 4096);
  EXPECT_EQ((*file)->CheckBlock(0).code(), absl::StatusCode::kDataLoss);
}

TEST_F(PackedFileTest, RefusesFilesAndFoldersThatOthersMayWriteTo) {
  const auto store = MakeFilled();
  ASSERT_TRUE(Write(*store).ok());
  chmod(PathOf(*store).c_str(), 0620);
  EXPECT_EQ(Open(*store).status().code(), absl::StatusCode::kPermissionDenied);
  chmod(PathOf(*store).c_str(), 0600);
  EXPECT_TRUE(Open(*store).ok());
  chmod(folder_.c_str(), 0777);
  EXPECT_EQ(PackedFolder::Open(folder_).status().code(), absl::StatusCode::kPermissionDenied);
  chmod(folder_.c_str(), 0700);
  if (geteuid() == 0) {
    ASSERT_EQ(chown(PathOf(*store).c_str(), 12345, 12345), 0);
    EXPECT_EQ(Open(*store).status().code(), absl::StatusCode::kPermissionDenied);
    ASSERT_EQ(chown(folder_.c_str(), 12345, 12345), 0);
    EXPECT_EQ(PackedFolder::Open(folder_).status().code(), absl::StatusCode::kPermissionDenied);
  }
}

TEST_F(PackedFileTest, RefusesLinks) {
  const auto store = MakeFilled();
  ASSERT_TRUE(Write(*store).ok());
  std::filesystem::rename(PathOf(*store), folder_ + "/elsewhere");
  std::filesystem::create_symlink(folder_ + "/elsewhere", PathOf(*store));
  EXPECT_EQ(Open(*store).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace baton::stage
