#include "common/transport/lent_memory.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

#include "common/checksum/crc32c.h"

namespace baton {
namespace {

// Copied and summed at a time, so that the sum finds the bytes in the processor's cache.
constexpr size_t kPieceBytes = size_t{256} << 10;

static_assert(sizeof(LentMemory) == kLentMemoryBytes);

void* Remote(uint64_t address) { return std::bit_cast<void*>(static_cast<uintptr_t>(address)); }

// The mark and a piece in one call, so that both are of the same process.
absl::Status CopyPiece(const LentMemory& lent, const LenderMark& mark, uint64_t offset,
                       std::span<std::byte> out) {
  LenderMark seen;
  const iovec local[] = {{&seen, sizeof(seen)}, {out.data(), out.size()}};
  const iovec remote[] = {{Remote(lent.mark_address), sizeof(seen)},
                          {Remote(lent.address + offset), out.size()}};
  const ssize_t count = process_vm_readv(static_cast<pid_t>(lent.pid), local, 2, remote, 2, 0);
  if (count < 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("reading memory of process ", lent.pid, ": ", std::strerror(errno)));
  }
  if (static_cast<size_t>(count) != sizeof(seen) + out.size()) {
    return absl::FailedPreconditionError(
        absl::StrCat("process ", lent.pid, " has no memory where it says so"));
  }
  if (seen.source != mark.source || seen.name != mark.name) {
    return absl::FailedPreconditionError(
        absl::StrCat("process ", lent.pid, " here is not the one that lends memory"));
  }
  return absl::OkStatus();
}

}  // namespace

std::array<std::byte, kLentMemoryBytes> EncodeLentMemory(const LentMemory& lent) {
  std::array<std::byte, kLentMemoryBytes> bytes;
  std::memcpy(bytes.data(), &lent, kLentMemoryBytes);
  return bytes;
}

LentMemory ParseLentMemory(std::span<const std::byte, kLentMemoryBytes> bytes) {
  LentMemory lent;
  std::memcpy(&lent, bytes.data(), kLentMemoryBytes);
  return lent;
}

LentMemory Lend(std::span<const std::byte> bytes, const LenderMark& mark) {
  return {.pid = static_cast<uint32_t>(getpid()),
          .crc = Crc32c(bytes),
          .mark_address = reinterpret_cast<uintptr_t>(&mark),
          .address = reinterpret_cast<uintptr_t>(bytes.data())};
}

void AllowCopies() {
  // Without Yama the kernel has no such rule and says EINVAL.
  prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
}

absl::Status CopyLentMemory(const LentMemory& lent, const LenderMark& mark,
                            std::span<std::byte> out) {
  uint32_t crc = 0;
  for (size_t offset = 0; offset < out.size(); offset += kPieceBytes) {
    const std::span<std::byte> piece =
        out.subspan(offset, std::min(kPieceBytes, out.size() - offset));
    if (absl::Status status = CopyPiece(lent, mark, offset, piece); !status.ok()) return status;
    crc = ExtendCrc32c(crc, piece);
  }
  if (crc == lent.crc) return absl::OkStatus();
  return absl::DataLossError("the checksum of lent memory is wrong");
}

}  // namespace baton
