#include "common/transport/lent_memory.h"

#include <csignal>
#include <cstring>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "tests/unit/common/transport/transport_inputs.h"

namespace baton {
namespace {

constexpr LenderMark kMark = {.source = 0x0123456789ABCDEF, .name = 42};
constexpr size_t kBytes = 700001;  // more than one piece, and an odd end

// A process with the memory that this one had when it began.
class ForkedProcess {
 public:
  ForkedProcess() : pid_(fork()) {
    if (pid_ != 0) return;
    while (true) pause();
  }
  ~ForkedProcess() { End(); }
  void End() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(std::exchange(pid_, -1), nullptr, 0);
  }
  uint32_t pid() const { return static_cast<uint32_t>(pid_); }

 private:
  pid_t pid_;
};

TEST(LentMemory, HasALayout) {
  const LentMemory lent = {.pid = 0x01020304,
                           .crc = 0x05060708,
                           .mark_address = 0x1112131415161718,
                           .address = 0x2122232425262728};
  const auto bytes = EncodeLentMemory(lent);
  const unsigned char expected[] = {4,    3,    2,    1,    8,    7,    6,    5,
                                    0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11,
                                    0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21};
  static_assert(sizeof(expected) == kLentMemoryBytes);
  EXPECT_EQ(std::memcmp(bytes.data(), expected, kLentMemoryBytes), 0);
  const LentMemory parsed = ParseLentMemory(bytes);
  EXPECT_EQ(parsed.pid, lent.pid);
  EXPECT_EQ(parsed.crc, lent.crc);
  EXPECT_EQ(parsed.mark_address, lent.mark_address);
  EXPECT_EQ(parsed.address, lent.address);
}

TEST(LentMemory, IsCopiedOutOfAnotherProcess) {
  auto bytes = RandomBytes(kBytes, 1);
  const auto before = bytes;
  LentMemory lent = Lend(bytes, kMark);
  const ForkedProcess lender;
  lent.pid = lender.pid();
  bytes.assign(kBytes, std::byte{0});
  std::vector<std::byte> out(kBytes);
  const absl::Status copied = CopyLentMemory(lent, kMark, out);
  ASSERT_TRUE(copied.ok()) << copied;
  EXPECT_EQ(out, before);
}

TEST(LentMemory, OfAProcessThatHasGoneIsRefused) {
  const auto bytes = RandomBytes(kBytes, 1);
  LentMemory lent = Lend(bytes, kMark);
  ForkedProcess lender;
  lent.pid = lender.pid();
  lender.End();
  std::vector<std::byte> out(kBytes);
  EXPECT_EQ(CopyLentMemory(lent, kMark, out).code(), absl::StatusCode::kFailedPrecondition);
}

TEST(LentMemory, OfAProcessWithoutTheMarkIsRefused) {
  const auto bytes = RandomBytes(kBytes, 1);
  std::vector<std::byte> out(kBytes);
  for (const LenderMark& other :
       {LenderMark{kMark.source, kMark.name + 1}, LenderMark{kMark.source + 1, kMark.name}}) {
    EXPECT_EQ(CopyLentMemory(Lend(bytes, other), kMark, out).code(),
              absl::StatusCode::kFailedPrecondition);
  }
}

TEST(LentMemory, ThatIsNotThereIsRefused) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* const gone = mmap(nullptr, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(gone, MAP_FAILED);
  const auto bytes = RandomBytes(page, 1);
  std::vector<std::byte> out(page);
  LentMemory lent = Lend(bytes, kMark);
  lent.address = reinterpret_cast<uintptr_t>(gone);
  EXPECT_EQ(CopyLentMemory(lent, kMark, out).code(), absl::StatusCode::kFailedPrecondition);
  lent = Lend(bytes, kMark);
  lent.mark_address = reinterpret_cast<uintptr_t>(gone);
  EXPECT_EQ(CopyLentMemory(lent, kMark, out).code(), absl::StatusCode::kFailedPrecondition);
  lent = Lend(bytes, kMark);
  lent.address = ~uint64_t{0} - 10;
  EXPECT_EQ(CopyLentMemory(lent, kMark, out).code(), absl::StatusCode::kFailedPrecondition);
  munmap(gone, page);
}

TEST(LentMemory, ThatItsOwnerHasWrittenToIsDamaged) {
  auto bytes = RandomBytes(kBytes, 1);
  const LentMemory lent = Lend(bytes, kMark);
  bytes.back() ^= std::byte{1};
  std::vector<std::byte> out(kBytes);
  EXPECT_EQ(CopyLentMemory(lent, kMark, out).code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace baton
