#include "services/stage_worker/packed_weights/packed_writer.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <span>
#include <sys/resource.h>
#include <unistd.h>
#include <vector>

#include "absl/strings/str_cat.h"

#include "common/checksum/crc32c.h"
#include "common/log/log.h"
#include "common/status/status_macros.h"
#include "services/stage_worker/packed_weights/packed_file.h"
#include "services/stage_worker/packed_weights/packed_format.h"

namespace baton::stage {
namespace {

// What may be on its way to the disk at a time: so much an end has to wait for at most, and so much
// of the memory for unwritten pages it takes from others.
constexpr uint64_t kWindowBytes = uint64_t{64} << 20;

absl::Status WriteAt(const PackedFolder::TemporaryFile& file, uint64_t position,
                     std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count =
        pwrite(file.file.get(), bytes.data(), bytes.size(), static_cast<off_t>(position));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return FileError(file.name, count < 0 ? errno : ENOSPC);
    bytes = bytes.subspan(static_cast<size_t>(count));
    position += static_cast<uint64_t>(count);
  }
  return absl::OkStatus();
}

// Where everything goes.
struct FilePlan {
  FileHeader header = {};
  std::vector<FileEntry> entries;
  std::vector<FilePiece> pieces;
  std::vector<uint32_t> block_crcs;
};

uint64_t KeyBytes(const std::string& key) { return RoundUp(key.size(), 8); }

FilePlan PlanFile(const std::vector<PlacedBytes>& placed, const std::string& key) {
  FilePlan plan;
  uint64_t data = 0;
  for (const PlacedBytes& from : placed) {
    plan.entries.push_back({static_cast<uint64_t>(from.kind), from.image.n, from.image.k,
                            from.image.form, from.image.pieces.size()});
    for (const std::span<const std::byte>& piece : from.image.pieces) {
      plan.pieces.push_back({data, piece.size()});
      data = RoundUp(data + piece.size(), kPieceAlignment);
    }
  }
  FileHeader& header = plan.header;
  header.magic = kPackedMagic;
  header.format = kPackedFormat;
  header.key_bytes = key.size();
  header.num_entries = plan.entries.size();
  header.num_pieces = plan.pieces.size();
  header.num_blocks = (data + kBlockBytes - 1) / kBlockBytes;
  header.header_bytes =
      sizeof(FileHeader) + KeyBytes(key) + plan.entries.size() * sizeof(FileEntry) +
      plan.pieces.size() * sizeof(FilePiece) + header.num_blocks * sizeof(uint32_t);
  header.data_begin = RoundUp(header.header_bytes, kDataAlignment);
  header.file_bytes = header.data_begin + data;
  for (FilePiece& piece : plan.pieces) piece.begin += header.data_begin;
  return plan;
}

// Takes pieces in order, each to a place behind the one before, and writes block by block.
class BlockWriter {
 public:
  BlockWriter(const PackedFolder::TemporaryFile& file, FilePlan* plan,
              const std::function<bool()>& goes_on)
      : file_(file), plan_(*plan), goes_on_(goes_on), position_(plan->header.data_begin) {
    block_.reserve(kBlockBytes);
  }

  absl::Status Add(uint64_t begin, std::span<const std::byte> bytes) {
    block_.resize(block_.size() + static_cast<size_t>(begin - position_));
    position_ = begin;
    while (!bytes.empty()) {
      if (block_.size() >= kBlockBytes) RETURN_IF_ERROR(Flush());
      const size_t part = std::min(bytes.size(), kBlockBytes - block_.size());
      block_.insert(block_.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(part));
      bytes = bytes.subspan(part);
      position_ += part;
    }
    return absl::OkStatus();
  }

  absl::Status Finish() {
    RETURN_IF_ERROR(Add(plan_.header.file_bytes, {}));
    while (!block_.empty()) RETURN_IF_ERROR(Flush());
    while (awaited_ < plan_.header.file_bytes) RETURN_IF_ERROR(AwaitBlock());
    return CheckGoesOn();
  }

 private:
  absl::Status CheckGoesOn() const {
    return goes_on_() ? absl::OkStatus() : absl::CancelledError("writing ends");
  }

  absl::Status Flush() {
    RETURN_IF_ERROR(CheckGoesOn());
    const size_t bytes = std::min(block_.size(), kBlockBytes);
    const std::span<const std::byte> block(block_.data(), bytes);
    const uint64_t begin = plan_.header.data_begin + plan_.block_crcs.size() * kBlockBytes;
    RETURN_IF_ERROR(WriteAt(file_, begin, block));
    // On its way at once; an error comes out where it is waited for.
    sync_file_range(file_.file.get(), static_cast<off64_t>(begin), static_cast<off64_t>(bytes),
                    SYNC_FILE_RANGE_WRITE);
    plan_.block_crcs.push_back(Crc32c(block));
    block_.erase(block_.begin(), block_.begin() + static_cast<ptrdiff_t>(bytes));
    return begin + bytes - awaited_ > kWindowBytes ? AwaitBlock() : absl::OkStatus();
  }

  // Waits until the oldest block on its way is on the disk.
  absl::Status AwaitBlock() {
    RETURN_IF_ERROR(CheckGoesOn());
    const int failed = sync_file_range(
        file_.file.get(), static_cast<off64_t>(awaited_), kBlockBytes,
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
    awaited_ += kBlockBytes;
    // File systems that do not know it leave all to the sync at the end.
    const bool matters = failed != 0 && errno != EINVAL && errno != ENOSYS && errno != ESPIPE;
    return matters ? FileError(file_.name, errno) : absl::OkStatus();
  }

  const PackedFolder::TemporaryFile& file_;
  FilePlan& plan_;
  const std::function<bool()>& goes_on_;
  uint64_t position_;
  uint64_t awaited_ = plan_.header.data_begin;  // up to there it is on the disk
  std::vector<std::byte> block_;
};

std::vector<std::byte> HeaderBytes(FilePlan& plan, const std::string& key) {
  std::vector<std::byte> bytes(plan.header.header_bytes);
  std::byte* to = bytes.data() + sizeof(FileHeader);
  std::memcpy(to, key.data(), key.size());
  to += KeyBytes(key);
  const auto append = [&to](const auto& elements) {
    const std::span<const std::byte> from = std::as_bytes(std::span(elements));
    to = std::ranges::copy(from, to).out;
  };
  append(plan.entries);
  append(plan.pieces);
  append(plan.block_crcs);
  std::memcpy(bytes.data(), &plan.header, sizeof(FileHeader));
  plan.header.header_crc = Crc32c(bytes);
  std::memcpy(bytes.data(), &plan.header, sizeof(FileHeader));
  return bytes;
}

// A file that grows beyond this would end the process.
absl::Status CheckFileLimit(uint64_t bytes) {
  rlimit limit = {};
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
      bytes <= limit.rlim_cur) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(absl::StrCat("a file of ", bytes, " bytes; the limit is ",
                                                   limit.rlim_cur, " (RLIMIT_FSIZE)"));
}

absl::Status WriteAll(const PackedFolder::TemporaryFile& file,
                      const std::vector<PlacedBytes>& placed, const PackedWriteOptions& options,
                      FilePlan* plan) {
  BlockWriter writer(file, plan, options.goes_on);
  auto place = plan->pieces.begin();
  for (const PlacedBytes& from : placed) {
    for (const std::span<const std::byte>& piece : from.image.pieces) {
      RETURN_IF_ERROR(writer.Add((place++)->begin, piece));
    }
  }
  RETURN_IF_ERROR(writer.Finish());
  return WriteAt(file, 0, HeaderBytes(*plan, options.key.text));
}

}  // namespace

absl::StatusOr<uint64_t> WritePacked(const PackedFolder& folder, const WeightStore& store,
                                     const PackedWriteOptions& options) {
  const std::string& name = options.key.file_name;
  // Another worker may have been faster.
  if (PackedFile::Open(folder, options.key).ok()) {
    return absl::AlreadyExistsError(absl::StrCat(folder.path(), "/", name, " is there already"));
  }
  ASSIGN_OR_RETURN(const std::vector<PlacedBytes> placed, store.ExportPlaced());
  FilePlan plan = PlanFile(placed, options.key.text);
  const uint64_t bytes = plan.header.file_bytes;
  RETURN_IF_ERROR(CheckFileLimit(bytes));
  ASSIGN_OR_RETURN(const PackedFolder::TemporaryFile file,
                   folder.Begin({name, bytes, options.max_bytes}));
  absl::Status status = WriteAll(file, placed, options, &plan);
  if (status.ok()) status = folder.Publish(file, name);
  if (!status.ok()) {
    const absl::Status removed = folder.Remove(file.name);
    if (!removed.ok()) BATON_LOG(ERROR) << removed.message();
    return status;
  }
  folder.RemoveUnused(options.key.stage_prefix, name);
  return bytes;
}

}  // namespace baton::stage
