#include "services/model_loader/source/range_reader.h"

#include <filesystem>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "absl/strings/match.h"

#include "common/log/check.h"
#include "services/model_loader/source/checkpoint_folder.h"
#include "tests/fakes/checkpoint_writer.h"
#include "tests/fakes/fake_byte_source.h"

namespace baton::loader {
namespace {

using testing::FakeByteSource;

std::string Pattern(size_t bytes) {
  std::mt19937 random(7);
  std::string text(bytes, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

// Reads hang until `deadline`; those that do not hang have to end before it.
RangeReaderOptions WithDeadline(absl::Duration deadline) {
  RangeReaderOptions options;
  options.num_threads = 2;
  options.read_deadline = deadline;
  options.buffer_bytes = 4096;
  return options;
}

// For tests in which every read hangs.
RangeReaderOptions Impatient() { return WithDeadline(absl::Milliseconds(30)); }

// For tests in which a read that hangs is followed by one that does not, on a thread that may have
// to wait for a processor.
RangeReaderOptions Patient() { return WithDeadline(absl::Seconds(1)); }

std::string Text(const ReadBuffer& buffer) {
  return {reinterpret_cast<const char*>(buffer.span().data()), buffer.span().size()};
}

TEST(RangeReader, FillsTheBufferFromSeveralRanges) {
  const std::string bytes = Pattern(10000);
  FakeByteSource source({"", bytes});
  const auto reader = RangeReader::Create({}, &source).value();
  const std::vector<FileRange> ranges = {{9000, 1000, 0}, {5, 10, 1000}};
  const auto buffer = reader->Read(1, ranges, 1010, ReadScope());
  ASSERT_TRUE(buffer.ok()) << buffer.status();
  EXPECT_EQ(Text(**buffer), bytes.substr(9000) + bytes.substr(5, 10));
  EXPECT_EQ(reader->counters().read_bytes, 1010u);
}

// Rows of 5 + 11 + 3 bytes; more rows than one read has pieces for.
TEST(RangeReader, DealsRowsOutToTheirParts) {
  constexpr uint64_t kRows = 700;
  const std::string bytes = Pattern(100 + kRows * 19);
  std::string expected(kRows * 19, '\0');
  const FileRange range = {100, kRows * 19, 0, {{5, 0}, {11, kRows * 5}, {3, kRows * 16}}};
  for (uint64_t row = 0; row < kRows; ++row) {
    expected.replace(row * 5, 5, bytes, 100 + row * 19, 5);
    expected.replace(kRows * 5 + row * 11, 11, bytes, 100 + row * 19 + 5, 11);
    expected.replace(kRows * 16 + row * 3, 3, bytes, 100 + row * 19 + 16, 3);
  }
  for (const size_t most_per_read : {size_t{SIZE_MAX}, size_t{1}, size_t{7}, size_t{19}}) {
    FakeByteSource source({bytes});
    source.set_most_per_read(most_per_read);
    const auto reader = RangeReader::Create({}, &source).value();
    const auto buffer = reader->Read(0, {&range, 1}, expected.size(), ReadScope());
    ASSERT_TRUE(buffer.ok()) << buffer.status();
    EXPECT_EQ(Text(**buffer), expected) << most_per_read << " bytes at a time";
  }
}

TEST(RangeReader, PutsShortReadsTogether) {
  const std::string bytes = Pattern(1000);
  FakeByteSource source({bytes});
  source.set_most_per_read(7);
  const auto reader = RangeReader::Create({}, &source).value();
  const FileRange range = {0, 1000, 0};
  EXPECT_EQ(Text(*reader->Read(0, {&range, 1}, 1000, ReadScope()).value()), bytes);
}

TEST(RangeReader, SaysWhereAFileEndsEarly) {
  FakeByteSource source({Pattern(100)});
  const auto reader = RangeReader::Create({}, &source).value();
  const FileRange range = {40, 100, 0};
  const absl::Status status = reader->Read(0, {&range, 1}, 100, ReadScope()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(absl::StrContains(status.message(), "file-0")) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "byte 100, 40 bytes early")) << status;
}

TEST(RangeReader, TriesAgainAfterAnInputError) {
  FakeByteSource source({Pattern(100)});
  source.FailNext(2, absl::UnavailableError("Input/output error"));
  const auto reader = RangeReader::Create({}, &source).value();
  const FileRange range = {0, 100, 0};
  EXPECT_TRUE(reader->Read(0, {&range, 1}, 100, ReadScope()).ok());
  EXPECT_EQ(reader->counters().failed_attempts, 2u);
}

TEST(RangeReader, GivesUpAfterItsAttempts) {
  FakeByteSource source({Pattern(100)});
  source.FailNext(3, absl::UnavailableError("Input/output error"));
  const auto reader = RangeReader::Create({}, &source).value();
  const FileRange range = {60, 10, 0};
  const absl::Status status = reader->Read(0, {&range, 1}, 10, ReadScope()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(absl::StrContains(status.message(), "offset 60")) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "attempt 3 of 3")) << status;
}

TEST(RangeReader, DoesNotRetryWhatHasVanished) {
  FakeByteSource source({Pattern(100)});
  source.FailNext(1, absl::NotFoundError("Stale file handle"));
  const auto reader = RangeReader::Create({}, &source).value();
  const FileRange range = {0, 10, 0};
  EXPECT_EQ(reader->Read(0, {&range, 1}, 10, ReadScope()).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(source.num_reads(), 1);
}

TEST(RangeReader, ReadsOnWhenOneReadHangs) {
  const std::string bytes = Pattern(100);
  FakeByteSource source({bytes});
  source.HangNext(1);
  const auto reader = RangeReader::Create(Patient(), &source).value();
  const FileRange range = {0, 100, 0};
  const auto buffer = reader->Read(0, {&range, 1}, 100, ReadScope());
  ASSERT_TRUE(buffer.ok()) << buffer.status();
  EXPECT_EQ(Text(**buffer), bytes);
  EXPECT_EQ(reader->counters().stuck_threads, 1);
  source.Release();
}

TEST(RangeReader, NamesTheDeadlineWhenEveryAttemptHangs) {
  FakeByteSource source({Pattern(100)});
  source.HangNext(1000);
  const auto reader = RangeReader::Create(Impatient(), &source).value();
  const FileRange range = {0, 100, 0};
  const absl::Status status = reader->Read(0, {&range, 1}, 100, ReadScope()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(absl::StrContains(status.message(), "30ms")) << status;
  source.Release();
}

TEST(RangeReader, FailsAtOnceWhenNoThreadIsLeft) {
  FakeByteSource source({Pattern(100)});
  source.HangNext(1000);
  RangeReaderOptions options = Impatient();
  options.num_threads = 1;
  options.max_stuck_threads = 0;
  options.max_attempts = 2;
  const auto reader = RangeReader::Create(options, &source).value();
  const FileRange range = {0, 100, 0};
  const absl::Status status = reader->Read(0, {&range, 1}, 100, ReadScope()).status();
  EXPECT_TRUE(absl::StrContains(status.message(), "every read thread")) << status;
  source.Release();
}

TEST(RangeReader, WaitsForAReadThatComesBackWhenItIsDestroyed) {
  FakeByteSource source({Pattern(100)});
  source.HangNext(1);
  auto reader = RangeReader::Create(Patient(), &source).value();
  const FileRange range = {0, 100, 0};
  ASSERT_TRUE(reader->Read(0, {&range, 1}, 100, ReadScope()).ok());
  std::thread storage([&] { source.Release(); });
  reader.reset();
  storage.join();
}

TEST(RangeReaderDeathTest, LeavesTheProcessIfAReadHangsForEver) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto destroy_while_stuck = [] {
    FakeByteSource source({Pattern(100)});
    source.HangNext(1);
    RangeReaderOptions options = Patient();
    options.stop_deadline = absl::Milliseconds(20);
    auto reader = RangeReader::Create(options, &source).value();
    const FileRange range = {0, 100, 0};
    BATON_CHECK(reader->Read(0, {&range, 1}, 100, ReadScope()).ok());
    reader.reset();
  };
  EXPECT_EXIT(destroy_while_stuck(), ::testing::ExitedWithCode(1),
              "1 read.s. still wait for the storage");
}

TEST(RangeReader, CancelEndsAReadThatHangs) {
  FakeByteSource source({Pattern(100)});
  source.HangNext(1000);
  const auto reader = RangeReader::Create({}, &source).value();
  ReadScope scope;
  std::thread canceller([&] { reader->Cancel(&scope); });
  const FileRange range = {0, 100, 0};
  EXPECT_EQ(reader->Read(0, {&range, 1}, 100, scope).status().code(), absl::StatusCode::kCancelled);
  canceller.join();
  source.Release();
}

TEST(RangeReader, ServesManyCallersAtOnce) {
  const std::string bytes = Pattern(1 << 20);
  FakeByteSource source({bytes});
  const auto reader = RangeReader::Create({}, &source).value();
  std::vector<std::thread> callers;
  for (uint64_t caller = 0; caller < 8; ++caller) {
    callers.emplace_back([&, caller] {
      for (uint64_t i = 0; i < 50; ++i) {
        const FileRange range = {caller * 1000 + i, 500 + i, 0};
        const auto buffer = reader->Read(0, {&range, 1}, range.length, ReadScope());
        ASSERT_TRUE(buffer.ok());
        ASSERT_EQ(Text(**buffer), bytes.substr(range.file_offset, range.length));
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
}

TEST(RangeReader, FileThatShrinksWhileOpenIsAnErrorNotASignal) {
  testing::TempFolder temp("reader_shrinks");
  testing::WriteFile(temp.File("a"), Pattern(100000));
  const auto folder = CheckpointFolder::Open({temp.path()}).value();
  const size_t file = folder->AddFile("a").value();
  const auto reader = RangeReader::Create({}, folder.get()).value();
  std::filesystem::resize_file(temp.File("a"), 50000);
  const FileRange range = {40000, 20000, 0};
  const absl::Status status = reader->Read(file, {&range, 1}, 20000, ReadScope()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(absl::StrContains(status.message(), "byte 50000")) << status;
}

TEST(RangeReader, RefusesOptionsThatCannotWork) {
  FakeByteSource source({""});
  RangeReaderOptions options;
  options.num_threads = 0;
  EXPECT_FALSE(RangeReader::Create(options, &source).ok());
  options = {};
  options.read_deadline = absl::ZeroDuration();
  EXPECT_FALSE(RangeReader::Create(options, &source).ok());
}

}  // namespace
}  // namespace baton::loader
