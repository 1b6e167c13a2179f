#include "common/transport/lent_memory.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

#include "common/checksum/crc32c.h"
#include "common/log/log.h"

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
  if (seen != mark) {
    return absl::FailedPreconditionError(
        absl::StrCat("process ", lent.pid, " here is not one that lends memory still"));
  }
  return absl::OkStatus();
}

// Whether `pid` is this process or one of its threads, whose numbers the kernel takes as well.
bool IsOwn(uint32_t pid) { return syscall(SYS_tgkill, getpid(), static_cast<pid_t>(pid), 0) == 0; }

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
  [[maybe_unused]] static const int once = prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
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
  // Bytes that were taken back while they were copied are not damaged.
  if (absl::Status status = CopyPiece(lent, mark, 0, {}); !status.ok()) return status;
  return absl::DataLossError("the checksum of lent memory is wrong");
}

absl::Status LentCopier::Copy(const LentMemory& lent, const LenderMark& mark,
                              std::span<std::byte> out, absl::string_view lender_name) {
  const absl::Status cannot = absl::UnimplementedError("lent memory cannot be copied");
  if (gave_up_) return cannot;
  const Lender lender = {.pid = lent.pid, .mark_address = lent.mark_address, .mark = mark};
  absl::Status status;
  if (lender_.has_value() && lender_ != lender) {
    status = absl::InvalidArgumentError("memory is lent by another lender than before");
  } else if (!may_copy_own_ && IsOwn(lent.pid)) {
    status = absl::FailedPreconditionError(
        absl::StrCat("the lender's process ", lent.pid, " is this process's own number"));
  } else {
    status = CopyLentMemory(lent, mark, out);
  }
  if (status.ok()) {
    lender_ = lender;
    return status;
  }
  gave_up_ = true;
  if (!absl::IsFailedPrecondition(status)) return status;
  BATON_LOG(INFO) << "memory lent by " << lender_name << " cannot be copied: " << status.message();
  return cannot;
}

}  // namespace baton
