#include "services/stage_worker/packed_weights/packed_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

#include "common/checksum/crc32c.h"
#include "common/status/status_macros.h"

namespace baton::stage {
namespace {

// Of a file that lies about its header.
constexpr uint64_t kMostHeaderBytes = uint64_t{1} << 30;
// TMPFS_MAGIC and RAMFS_MAGIC of linux/magic.h.
constexpr int64_t kTmpfs = 0x01021994;
constexpr int64_t kRamfs = 0x858458f6;

bool ReadAt(int file, uint64_t position, std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t count = pread(file, out.data(), out.size(), static_cast<off_t>(position));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    out = out.subspan(static_cast<size_t>(count));
    position += static_cast<uint64_t>(count);
  }
  return true;
}

// The first `count` of what stands in `bytes`, which begin behind them then.
template <typename Element>
std::vector<Element> TakeOff(std::span<const std::byte>* bytes, uint64_t count) {
  std::vector<Element> taken(count);
  const std::span<std::byte> to = std::as_writable_bytes(std::span(taken));
  std::ranges::copy(bytes->first(to.size()), to.begin());
  *bytes = bytes->subspan(to.size());
  return taken;
}

// `bytes` of address space that begin at a huge page, in a reservation that is given back around
// them.
std::byte* Reserve(size_t bytes) {
  const size_t whole = bytes + kDataAlignment;
  void* const base =
      mmap(nullptr, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return nullptr;
  const auto address = reinterpret_cast<uintptr_t>(base);
  const uintptr_t begin = RoundUp(address, kDataAlignment);
  if (begin > address) munmap(base, begin - address);
  const uintptr_t end = RoundUp(begin + bytes, static_cast<uint64_t>(getpagesize()));
  if (address + whole > end) munmap(reinterpret_cast<void*>(end), address + whole - end);
  return reinterpret_cast<std::byte*>(begin);
}

}  // namespace

absl::StatusOr<std::shared_ptr<PackedFile>> PackedFile::Open(const PackedFolder& folder,
                                                             const PackedKey& key) {
  ASSIGN_OR_RETURN(OwnedFile opened, folder.OpenFile(key.file_name));
  std::shared_ptr<PackedFile> file(
      new PackedFile(absl::StrCat(folder.path(), "/", key.file_name), std::move(opened)));
  RETURN_IF_ERROR(file->ReadHeader(key.text));
  RETURN_IF_ERROR(file->Map());
  folder.Touch(file->file_);
  return file;
}

PackedFile::~PackedFile() {
  if (mapping_ != nullptr) munmap(mapping_, header_.file_bytes);
}

absl::Status PackedFile::Damaged(absl::string_view what) const {
  return absl::DataLossError(absl::StrCat(path_, ": ", what));
}

absl::Status PackedFile::ReadHeader(absl::string_view key) {
  struct stat attributes = {};
  if (fstat(file_.get(), &attributes) != 0 ||
      !ReadAt(file_.get(), 0, std::as_writable_bytes(std::span(&header_, 1)))) {
    return Damaged("is too short for its header");
  }
  if (header_.magic != kPackedMagic) return Damaged("is no file of packed weights");
  if (header_.format != kPackedFormat) {
    return Damaged(absl::StrCat("has format ", header_.format, ", not ", kPackedFormat));
  }
  const auto size = static_cast<uint64_t>(attributes.st_size);
  if (header_.file_bytes != size) {
    return Damaged(absl::StrCat("has ", size, " bytes, not ", header_.file_bytes));
  }
  if (header_.header_bytes < sizeof(FileHeader) || header_.header_bytes > kMostHeaderBytes ||
      header_.data_begin != RoundUp(header_.header_bytes, kDataAlignment) ||
      header_.data_begin > size) {
    return Damaged("has a header that cannot be");
  }
  std::vector<std::byte> bytes(header_.header_bytes);
  if (!ReadAt(file_.get(), 0, bytes)) return Damaged("cannot be read");
  FileHeader plain = header_;
  plain.header_crc = 0;
  std::memcpy(bytes.data(), &plain, sizeof(plain));
  if (Crc32c(bytes) != header_.header_crc) return Damaged("has a damaged header");
  const std::span<const std::byte> rest = std::span(bytes).subspan(sizeof(FileHeader));
  if (header_.key_bytes != key.size() || rest.size() < key.size() ||
      std::memcmp(rest.data(), key.data(), key.size()) != 0) {
    return Damaged("is for another model, stage or kernels");
  }
  return TakeEntries(rest.subspan(std::min(rest.size(), RoundUp(key.size(), 8))));
}

absl::Status PackedFile::TakeEntries(std::span<const std::byte> header) {
  const uint64_t data_bytes = header_.file_bytes - header_.data_begin;
  const uint64_t most = std::max({header_.num_entries, header_.num_pieces, header_.num_blocks});
  if (most > kMostHeaderBytes ||
      header_.num_entries * sizeof(FileEntry) + header_.num_pieces * sizeof(FilePiece) +
              header_.num_blocks * sizeof(uint32_t) !=
          header.size() ||
      header_.num_blocks != (data_bytes + kBlockBytes - 1) / kBlockBytes) {
    return Damaged("has a header that cannot be");
  }
  entries_ = TakeOff<FileEntry>(&header, header_.num_entries);
  pieces_ = TakeOff<FilePiece>(&header, header_.num_pieces);
  block_crcs_ = TakeOff<uint32_t>(&header, header_.num_blocks);
  uint64_t num_left = header_.num_pieces;
  for (const FileEntry& entry : entries_) {
    if (entry.kind > static_cast<uint64_t>(PlacedBytes::Kind::kTable) ||
        entry.num_pieces > num_left) {
      return Damaged("has weights that cannot be");
    }
    num_left -= entry.num_pieces;
  }
  if (num_left != 0) return Damaged("has pieces of no weight");
  for (const FilePiece& piece : pieces_) {
    if (piece.begin < header_.data_begin || piece.begin > header_.file_bytes ||
        piece.bytes > header_.file_bytes - piece.begin) {
      return Damaged("has weights beyond its end");
    }
  }
  return absl::OkStatus();
}

absl::Status PackedFile::Map() {
  std::byte* const place = Reserve(header_.file_bytes);
  void* const mapped = place == nullptr ? MAP_FAILED
                                        : mmap(place, header_.file_bytes, PROT_READ,
                                               MAP_SHARED | MAP_FIXED, file_.get(), 0);
  if (mapped == MAP_FAILED) {
    const std::string reason = std::strerror(errno);
    if (place != nullptr) munmap(place, header_.file_bytes);
    return absl::ResourceExhaustedError(absl::StrCat(path_, " cannot be mapped: ", reason));
  }
  mapping_ = place;
  struct statfs system = {};
  is_evictable_ =
      fstatfs(file_.get(), &system) != 0 || (system.f_type != kTmpfs && system.f_type != kRamfs);
  // Pages that are not in memory yet are read in huge ones, where the file system has them.
  madvise(mapping_, header_.file_bytes, MADV_HUGEPAGE);
  auto piece = pieces_.begin();
  for (const FileEntry& entry : entries_) {
    PlacedBytes& placed = placed_.emplace_back();
    placed.kind = static_cast<PlacedBytes::Kind>(entry.kind);
    placed.image.n = entry.n;
    placed.image.k = entry.k;
    placed.image.form = entry.form;
    for (uint64_t i = 0; i < entry.num_pieces; ++i, ++piece) {
      placed.image.pieces.emplace_back(mapping_ + piece->begin, static_cast<size_t>(piece->bytes));
    }
  }
  entries_ = {};
  pieces_ = {};
  return absl::OkStatus();
}

absl::Status PackedFile::CheckBlock(size_t block) const {
  const uint64_t begin = header_.data_begin + block * kBlockBytes;
  const auto bytes =
      static_cast<size_t>(std::min<uint64_t>(kBlockBytes, header_.file_bytes - begin));
  std::byte* const mapped = mapping_ + begin;
  // Pages that cannot be had are an error here, where touching them would end the process.
  if (madvise(mapped, bytes, MADV_POPULATE_READ) != 0) {
    // Systems before Linux 5.14 do not know the advice: a plain read tells as much of a file that
    // is left alone.
    std::vector<std::byte> read(errno == EFAULT || errno == EHWPOISON ? 0 : bytes);
    if (read.empty() || !ReadAt(file_.get(), begin, read)) {
      return Damaged(absl::StrCat("block ", block, " cannot be read from ", begin));
    }
  }
  if (Crc32c({mapped, bytes}) == block_crcs_[block]) return absl::OkStatus();
  return Damaged(
      absl::StrCat("wrong checksum of block ", block, ", the ", bytes, " bytes from ", begin));
}

}  // namespace baton::stage
