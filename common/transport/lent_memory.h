// Memory that its owner lends to a process of the same machine, which copies from it: one copy
// instead of those into and out of a socket or a ring. process_vm_readv(2) lets a process do that
// whose user and pid namespace are the same, if no ptrace rule forbids it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"

namespace baton {

// What stands in the lender's memory at `mark_address`: random numbers that its partner knows of it
// from elsewhere. A process where it does not stand is not the lender, though it has its number.
struct LenderMark {
  uint64_t source = 0;
  uint64_t name = 0;
};

// The lender's word for `address`..., as a payload; little-endian:
//   0  pid u32    4  crc u32    8  mark_address u64    16  address u64    24  end
struct LentMemory {
  uint32_t pid = 0;  // as the lender sees itself
  uint32_t crc = 0;  // CRC-32C of the bytes
  uint64_t mark_address = 0;
  uint64_t address = 0;
};
inline constexpr size_t kLentMemoryBytes = 24;

std::array<std::byte, kLentMemoryBytes> EncodeLentMemory(const LentMemory& lent);
// Any bytes are safe to pass.
LentMemory ParseLentMemory(std::span<const std::byte, kLentMemoryBytes> bytes);

// Where `bytes` and `mark` of this process lie; sums the bytes. Both must stay as they are for as
// long as anybody may copy.
LentMemory Lend(std::span<const std::byte> bytes, const LenderMark& mark);

// Lets every process of the same user copy, where the system's rule is that only a parent may
// (Yama's ptrace_scope 1). Lenders call it once.
void AllowCopies();

// Copies out.size() bytes. Errors, after which `out` holds rubbish: FailedPrecondition (another
// process, no leave, no such memory), DataLoss (their checksum is not what the lender said). What
// `lent` says cannot harm this process: the kernel checks addresses, and only a process that holds
// `mark` is taken for the lender. Waits for no one, not even a lender that is frozen.
absl::Status CopyLentMemory(const LentMemory& lent, const LenderMark& mark,
                            std::span<std::byte> out);

}  // namespace baton
