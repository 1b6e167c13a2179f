// Stores of a toy model's layers, and a folder for their packed weights.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "common/checksum/crc32c.h"
#include "kernels/cpu/cpu_backend.h"
#include "services/stage_worker/packed_weights/packed_file.h"
#include "services/stage_worker/packed_weights/packed_key.h"
#include "services/stage_worker/packed_weights/packed_writer.h"
#include "services/stage_worker/weights/weight_store.h"
#include "tests/fakes/memory_checkpoint.h"
#include "tests/fakes/toy_model.h"

namespace baton::stage {

// Of one block of data.
class PackedStage : public testing::Test {
 protected:
  // Tests give a bound of their own: a machine's file system may be fuller than the default wants.
  static constexpr uint64_t kMostBytes = uint64_t{1} << 30;

  PackedStage() : PackedStage(fakes::ToyConfig()) {}
  explicit PackedStage(ModelConfig config)
      : config_(std::move(config)), checkpoint_(fakes::RandomCheckpoint(config_, 5)) {
    team_ = *(*kernels::CreateCpuBackend({}))->CreateTeam(1, 1);
    std::string name = testing::TempDir() + "packedXXXXXX";
    base_ = mkdtemp(name.data());
    folder_ = base_ + "/weights";
  }
  ~PackedStage() override { std::filesystem::remove_all(base_); }

  WeightStoreOptions Options() const {
    WeightStoreOptions options;
    options.config = config_;
    options.stage = {0, 3, true, true};
    options.num_ranks = 2;
    options.num_local_ranks = 2;
    options.expand_prompts = true;
    return options;
  }
  kernels::Ops* ops() { return team_.devices[0].ops.get(); }
  std::unique_ptr<WeightStore> MakeStore() { return MakeStore(Options()); }
  std::unique_ptr<WeightStore> MakeStore(const WeightStoreOptions& options) {
    return *WeightStore::Create(options, ops());
  }
  std::unique_ptr<WeightStore> MakeFilled() {
    std::unique_ptr<WeightStore> store = MakeStore();
    EXPECT_TRUE(checkpoint_.Fill(*store).ok());
    return store;
  }

  static PackedKey KeyOf(const WeightStore& store, const std::string& checkpoint = "checkpoint",
                         const std::string& build = "build") {
    return MakePackedKey({build, "model", checkpoint}, store);
  }
  PackedFolder Folder() const { return *PackedFolder::Open(folder_); }
  std::string PathOf(const WeightStore& store) const {
    return folder_ + "/" + KeyOf(store).file_name;
  }
  absl::StatusOr<uint64_t> Write(const WeightStore& store, uint64_t max_bytes = kMostBytes) {
    return WritePacked(Folder(), store, {.key = KeyOf(store), .max_bytes = max_bytes});
  }
  absl::StatusOr<std::shared_ptr<PackedFile>> Open(const WeightStore& store) {
    return PackedFile::Open(Folder(), KeyOf(store));
  }

  static void ChangeByte(const std::string& path, uint64_t position) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(position));
    const char changed = static_cast<char>(file.get() ^ 0x10);
    file.seekp(static_cast<std::streamoff>(position));
    file.put(changed);
  }

  // What a file says of its weights.
  struct FileParts {
    FileHeader header = {};
    std::vector<FileEntry> entries;
    std::vector<FilePiece> pieces;
  };
  using FileChange = std::function<void(FileParts&)>;

  // Changes a file's header, entries and pieces, and gives it the checksum that it would have if a
  // writer had meant that.
  static void Rewrite(const std::string& path, const FileChange& change) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    FileParts parts;
    FileHeader& header = parts.header;
    file.read(reinterpret_cast<char*>(&header), sizeof(header));
    std::vector<char> bytes(header.header_bytes);
    file.seekg(0);
    file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    char* const entries = bytes.data() + sizeof(header) + RoundUp(header.key_bytes, 8);
    parts.entries.resize(header.num_entries);
    char* const pieces = entries + parts.entries.size() * sizeof(FileEntry);
    parts.pieces.resize(header.num_pieces);
    std::memcpy(parts.entries.data(), entries, parts.entries.size() * sizeof(FileEntry));
    std::memcpy(parts.pieces.data(), pieces, parts.pieces.size() * sizeof(FilePiece));
    const size_t old_size = bytes.size();
    change(parts);
    std::memcpy(entries, parts.entries.data(), parts.entries.size() * sizeof(FileEntry));
    std::memcpy(pieces, parts.pieces.data(), parts.pieces.size() * sizeof(FilePiece));
    header.header_crc = 0;
    std::memcpy(bytes.data(), &header, sizeof(header));
    // A reader takes the checksum of as many bytes as the header says.
    std::vector<char> whole(header.header_bytes < (uint64_t{1} << 30) ? header.header_bytes : 0);
    file.seekg(0);
    file.read(whole.data(), static_cast<std::streamsize>(whole.size()));
    file.clear();
    std::copy_n(bytes.begin(), std::min(whole.size(), old_size), whole.begin());
    header.header_crc = Crc32c(std::as_bytes(std::span(whole)));
    std::memcpy(bytes.data(), &header, sizeof(header));
    file.seekp(0);
    file.write(bytes.data(), static_cast<std::streamsize>(old_size));
  }

  // Every byte of the weights, in the order of their places.
  static std::vector<std::byte> BytesOf(const WeightStore& store) {
    std::vector<std::byte> bytes;
    const std::vector<PlacedBytes> all = store.ExportPlaced().value();
    for (const PlacedBytes& placed : all) {
      for (const auto& piece : placed.image.pieces) {
        bytes.insert(bytes.end(), piece.begin(), piece.end());
      }
    }
    return bytes;
  }
  // Without the lock.
  std::vector<std::string> FilesOf(const std::string& folder) const {
    std::vector<std::string> names;
    if (!std::filesystem::exists(folder)) return names;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (entry.path().filename() != ".lock") names.push_back(entry.path().filename());
    }
    return names;
  }

  const ModelConfig config_;
  const fakes::MemoryCheckpoint checkpoint_;
  kernels::Team team_;
  std::string base_;
  std::string folder_;  // in it; not made yet
};

// Of three blocks and more: most of it are the tables of the vocabulary.
class LargePackedStage : public PackedStage {
 protected:
  LargePackedStage() : PackedStage(LargeConfig()) {}

  static ModelConfig LargeConfig() {
    ModelConfig config = fakes::ToyConfig();
    config.vocab_size = 80'000;
    return config;
  }
};

}  // namespace baton::stage
