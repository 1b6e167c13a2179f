// Memory that its owner lends to a process of the same machine, which copies from it: one copy
// instead of those into and out of a socket or a ring. process_vm_readv(2) lets a process do that
// whose user and pid namespace are the same, if no ptrace rule forbids it.
//
// Whom this trusts: a lender's word names a process and addresses, and nothing proves that they are
// its own. Honest ends on different machines never meet a wrong process, for the mark is not there.
// A lender that lies could have its partner copy out of another process of the partner's user, and
// learn from the answer whether there are bytes with the mark and the checksum that it gave.
// Therefore a partner takes no word that names itself, copies no less than kMinLentBytes, and ends
// the transfer at the first wrong checksum: who asks must know the bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace baton {

// Shorter memory is neither lent nor copied: it is not worth the call, and its checksum could be
// guessed byte by byte.
inline constexpr size_t kMinLentBytes = size_t{64} << 10;

// What stands in the lender's memory at `mark_address` for as long as it lends: random numbers that
// come with its word. It tells an honest lender from a process that has its number on another
// machine or in another pid namespace; against one that lies it proves nothing.
struct LenderMark {
  uint64_t source = 0;
  uint64_t name = 0;

  friend bool operator==(const LenderMark&, const LenderMark&) = default;
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
// long as anybody may copy. A lender that wants its memory back changes the mark first.
LentMemory Lend(std::span<const std::byte> bytes, const LenderMark& mark);

// Where the system's rule is that only a parent may trace (Yama's ptrace_scope 1), lifts that rule
// for this process and for good: every process of the same user may then read and write its memory
// and control it, as without Yama. The first call does it, later ones do nothing. Threads: any.
void AllowCopies();

// Copies out.size() bytes. Errors, after which `out` holds rubbish: FailedPrecondition (another
// process, no leave, no such memory, or the lender has taken its memory back), DataLoss (their
// checksum is not what the lender said). The kernel checks the addresses. A lender that is frozen
// does not delay it; it may wait for the lender's page faults and for its memory map's lock (a
// thread of it that maps memory), and for no answer of it. Threads: any.
absl::Status CopyLentMemory(const LentMemory& lent, const LenderMark& mark,
                            std::span<std::byte> out);

// Copies what one partner lends in one transfer. The first process that could be copied from is the
// only one for good; after a failure nothing is tried any more. Threads: one at a time.
class LentCopier {
 public:
  // For tests: `may_copy_own` lets a process lend to itself.
  explicit LentCopier(bool may_copy_own = false) : may_copy_own_(may_copy_own) {}

  // Copies out.size() bytes, at least kMinLentBytes. Errors, whose text is always the same (the
  // cause is logged, with the lender's name): Unimplemented (they cannot be copied, this and all
  // later ones), DataLoss (as above), InvalidArgument (another lender than before).
  absl::Status Copy(const LentMemory& lent, const LenderMark& mark, std::span<std::byte> out,
                    absl::string_view lender_name = "a partner");

 private:
  struct Lender {
    uint32_t pid = 0;
    uint64_t mark_address = 0;
    LenderMark mark;

    friend bool operator==(const Lender&, const Lender&) = default;
  };

  const bool may_copy_own_;
  std::optional<Lender> lender_;  // that has been copied from
  bool gave_up_ = false;
};

}  // namespace baton
