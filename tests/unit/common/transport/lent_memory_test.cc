#include "common/transport/lent_memory.h"

#include <cstring>
#include <new>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "gtest/gtest.h"

#include "tests/unit/common/transport/forked_child.h"
#include "tests/unit/common/transport/transport_inputs.h"

namespace baton {
namespace {

constexpr LenderMark kMark = {.source = 0x0123456789ABCDEF, .name = 42};
constexpr size_t kBytes = 700001;  // more than one piece, and an odd end

class LentMemoryOfOthers : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = WhyMemoryCannotBeCopied(); !reason.empty()) {
      GTEST_SKIP() << reason;
    }
  }
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

TEST_F(LentMemoryOfOthers, IsCopiedOutOfAnotherProcess) {
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

TEST_F(LentMemoryOfOthers, OfAProcessThatHasGoneIsRefused) {
  const auto bytes = RandomBytes(kBytes, 1);
  LentMemory lent = Lend(bytes, kMark);
  ForkedProcess lender;
  lent.pid = lender.pid();
  lender.End();
  std::vector<std::byte> out(kBytes);
  EXPECT_EQ(CopyLentMemory(lent, kMark, out).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(LentMemoryOfOthers, OfAProcessWithoutTheMarkIsRefused) {
  const auto bytes = RandomBytes(kBytes, 1);
  std::vector<std::byte> out(kBytes);
  for (const LenderMark& other :
       {LenderMark{kMark.source, kMark.name + 1}, LenderMark{kMark.source + 1, kMark.name}}) {
    EXPECT_EQ(CopyLentMemory(Lend(bytes, other), kMark, out).code(),
              absl::StatusCode::kFailedPrecondition);
  }
}

TEST_F(LentMemoryOfOthers, ThatIsNotThereIsRefused) {
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

TEST_F(LentMemoryOfOthers, ThatItsOwnerHasWrittenToIsDamaged) {
  auto bytes = RandomBytes(kBytes, 1);
  const LentMemory lent = Lend(bytes, kMark);
  bytes.back() ^= std::byte{1};
  std::vector<std::byte> out(kBytes);
  EXPECT_EQ(CopyLentMemory(lent, kMark, out).code(), absl::StatusCode::kDataLoss);
}

TEST_F(LentMemoryOfOthers, ThatItsOwnerTookBackIsRefusedAndNotDamaged) {
  auto bytes = RandomBytes(kBytes, 1);
  LenderMark mark = kMark;
  const LentMemory lent = Lend(bytes, mark);
  mark = {};
  bytes.back() ^= std::byte{1};
  std::vector<std::byte> out(kBytes);
  EXPECT_EQ(CopyLentMemory(lent, kMark, out).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(LentMemoryOfOthers, TakenBackWhileItIsCopiedIsRefusedAndNotDamaged) {
  const auto bytes = RandomBytes(100000, 1);
  std::vector<std::byte> out(bytes.size());
  // The copy itself overwrites the mark.
  const LenderMark* const mark = new (out.data() + 4096) LenderMark(kMark);
  LentMemory lent = Lend(bytes, *mark);
  lent.crc ^= 1;
  EXPECT_EQ(CopyLentMemory(lent, kMark, out).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(out, bytes) << "was refused before it was copied";
}

// Lent memory of a process that had `bytes` and kMark when it was forked.
LentMemory LendOf(const ForkedProcess& process, std::span<const std::byte> bytes) {
  LentMemory lent = Lend(bytes, kMark);
  lent.pid = process.pid();
  return lent;
}

TEST_F(LentMemoryOfOthers, IsCopiedAgainAndAgain) {
  const auto bytes = RandomBytes(kBytes, 1);
  const ForkedProcess lender;
  std::vector<std::byte> out(kBytes);
  LentCopier copier;
  for (int turn = 0; turn < 2; ++turn) {
    ASSERT_TRUE(copier.Copy(LendOf(lender, bytes), kMark, out).ok());
    EXPECT_EQ(out, bytes);
  }
}

TEST_F(LentMemoryOfOthers, IsNotAskedForAfterAFailure) {
  const auto bytes = RandomBytes(kBytes, 1);
  const ForkedProcess lender;
  std::vector<std::byte> out(kBytes);
  const LenderMark wrong = {.source = 1, .name = 2};
  LentCopier copier;
  const absl::Status first = copier.Copy(LendOf(lender, bytes), wrong, out);
  EXPECT_EQ(first.code(), absl::StatusCode::kUnimplemented);
  out.assign(kBytes, std::byte{0});
  EXPECT_EQ(copier.Copy(LendOf(lender, bytes), kMark, out), first);  // the same words
  EXPECT_EQ(out, std::vector<std::byte>(kBytes)) << "was copied";
}

TEST_F(LentMemoryOfOthers, ComesFromOneLenderAlone) {
  const auto bytes = RandomBytes(kBytes, 1);
  const ForkedProcess lender;
  const ForkedProcess another;
  std::vector<std::byte> out(kBytes);
  LentCopier copier;
  ASSERT_TRUE(copier.Copy(LendOf(lender, bytes), kMark, out).ok());
  out.assign(kBytes, std::byte{0});
  EXPECT_EQ(copier.Copy(LendOf(another, bytes), kMark, out).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(copier.Copy(LendOf(lender, bytes), kMark, out).code(),
            absl::StatusCode::kUnimplemented);
  EXPECT_EQ(out, std::vector<std::byte>(kBytes)) << "was copied";
}

TEST_F(LentMemoryOfOthers, OfAWrongChecksumIsAskedForOnce) {
  const auto bytes = RandomBytes(kBytes, 1);
  const ForkedProcess lender;
  std::vector<std::byte> out(kBytes);
  LentMemory lent = LendOf(lender, bytes);
  lent.crc ^= 1;
  LentCopier copier;
  EXPECT_EQ(copier.Copy(lent, kMark, out).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(copier.Copy(LendOf(lender, bytes), kMark, out).code(),
            absl::StatusCode::kUnimplemented);
}

TEST(LentMemory, IsNeverThatOfTheCopyingProcess) {
  const auto bytes = RandomBytes(kBytes, 1);
  std::vector<std::byte> out(kBytes);
  LentMemory lent = Lend(bytes, kMark);
  EXPECT_EQ(LentCopier().Copy(lent, kMark, out).code(), absl::StatusCode::kUnimplemented);
  std::thread([&] {
    lent.pid = static_cast<uint32_t>(gettid());  // the kernel takes a thread's number as well
    EXPECT_EQ(LentCopier().Copy(lent, kMark, out).code(), absl::StatusCode::kUnimplemented);
  }).join();
  EXPECT_EQ(out, std::vector<std::byte>(kBytes)) << "was copied";
}

}  // namespace
}  // namespace baton
