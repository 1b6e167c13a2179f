#include "services/model_loader/source/range_reader.h"

#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/concurrency/steady_mutex.h"
#include "common/log/check.h"
#include "common/log/log.h"

namespace baton::loader {
namespace {

constexpr absl::Duration kRetryPause = absl::Milliseconds(50);
constexpr int kMaxThreads = 256;

bool MayPass(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

std::span<std::byte> Part(std::span<std::byte> buffer, uint64_t offset, uint64_t length) {
  BATON_CHECK(offset <= buffer.size() && length <= buffer.size() - offset);
  return buffer.subspan(offset, length);
}

// Where the bytes of `range` from `done` on go, as many as one read takes.
void NextPieces(const FileRange& range, uint64_t done, std::span<std::byte> buffer,
                std::vector<std::span<std::byte>>& pieces) {
  pieces.clear();
  if (range.parts.empty()) {
    pieces.push_back(Part(buffer, range.buffer_offset + done, range.length - done));
    return;
  }
  uint64_t row_bytes = 0;
  for (const RowPart& part : range.parts) row_bytes += part.bytes;
  uint64_t skip = done % row_bytes;  // of the first row
  for (uint64_t row = done / row_bytes; row * row_bytes < range.length; ++row) {
    for (const RowPart& part : range.parts) {
      if (skip >= part.bytes) {
        skip -= part.bytes;
        continue;
      }
      if (pieces.size() == ByteSource::kMaxPieces) return;
      pieces.push_back(
          Part(buffer, part.buffer_offset + row * part.bytes + skip, part.bytes - skip));
      skip = 0;
    }
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<RangeReader>> RangeReader::Create(const RangeReaderOptions& options,
                                                                 const ByteSource* source) {
  if (options.num_threads < 1 || options.num_threads > kMaxThreads) {
    return absl::InvalidArgumentError(absl::StrCat(
        "number of read threads is ", options.num_threads, "; wanted 1 to ", kMaxThreads));
  }
  if (options.read_deadline <= absl::ZeroDuration() || options.max_attempts < 1 ||
      options.max_stuck_threads < 0) {
    return absl::InvalidArgumentError("read deadline and attempts must be positive");
  }
  return std::unique_ptr<RangeReader>(new RangeReader(options, source));
}

RangeReader::RangeReader(const RangeReaderOptions& options, const ByteSource* source)
    : options_(options),
      source_(*source),
      buffers_(static_cast<size_t>(2 * options.num_threads), options.buffer_bytes) {
  SteadyMutexLock lock(&mutex_);
  for (int i = 0; i < options.num_threads; ++i) {
    threads_.emplace_back(&RangeReader::RunThread, this);
  }
}

RangeReader::~RangeReader() {
  std::vector<std::thread> threads;
  {
    SteadyMutexLock lock(&mutex_);
    stopped_ = true;
    threads.swap(threads_);
    const auto all_ended = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return num_ended_threads_ == threads.size();
    };
    if (!mutex_.AwaitWithTimeout(absl::Condition(&all_ended), options_.stop_deadline)) {
      BATON_LOG(ERROR) << threads.size() - num_ended_threads_
                       << " read(s) still wait for the storage; leaving without them";
      std::_Exit(1);
    }
  }
  for (std::thread& thread : threads) thread.join();
}

void RangeReader::Cancel(ReadScope* scope) {
  SteadyMutexLock lock(&mutex_);
  scope->cancelled_ = true;
}

RangeReaderCounters RangeReader::counters() const {
  SteadyMutexLock lock(&mutex_);
  return counters_;
}

absl::StatusOr<std::shared_ptr<ReadBuffer>> RangeReader::Read(size_t file,
                                                              std::span<const FileRange> ranges,
                                                              size_t buffer_bytes,
                                                              const ReadScope& scope) {
  BATON_CHECK(file < source_.num_files() && !ranges.empty());
  for (int number = 1;; ++number) {
    auto attempt = std::make_shared<Attempt>();
    attempt->file = file;
    attempt->ranges.assign(ranges.begin(), ranges.end());
    attempt->buffer = buffers_.Take(buffer_bytes);
    const absl::Status status = TryOnce(attempt, scope);
    if (status.ok()) return attempt->buffer;
    if (absl::IsCancelled(status)) return status;
    const std::string text =
        absl::StrCat(source_.name(file), ": reading at offset ", ranges.front().file_offset, ": ",
                     status.message(), " (attempt ", number, " of ", options_.max_attempts, ")");
    if (!MayPass(status) || number == options_.max_attempts) {
      return absl::Status(status.code(), text);
    }
    BATON_LOG(WARNING) << text;
    SteadyMutexLock lock(&mutex_);
    mutex_.AwaitWithTimeout(absl::Condition(&scope.cancelled_), kRetryPause * number);
  }
}

absl::Status RangeReader::TryOnce(const std::shared_ptr<Attempt>& attempt, const ReadScope& scope) {
  const absl::Status cancelled = absl::CancelledError("the reads were cancelled");
  SteadyMutexLock lock(&mutex_);
  if (scope.cancelled_) return cancelled;
  queue_.push_back(attempt);
  const auto started_or_hopeless = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return attempt->started || scope.cancelled_ || num_live_threads() == 0;
  };
  mutex_.Await(absl::Condition(&started_or_hopeless));
  if (!attempt->started) {
    std::erase(queue_, attempt);
    if (scope.cancelled_) return cancelled;
    ++counters_.failed_attempts;
    return absl::DeadlineExceededError("every read thread waits for the storage");
  }
  const auto done_or_cancelled = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return attempt->done || scope.cancelled_;
  };
  mutex_.AwaitWithTimeout(absl::Condition(&done_or_cancelled), options_.read_deadline);
  if (attempt->done) {
    if (!attempt->status.ok()) ++counters_.failed_attempts;
    return attempt->status;
  }
  GiveUp(*attempt);
  if (scope.cancelled_) return cancelled;
  ++counters_.failed_attempts;
  return absl::DeadlineExceededError(absl::StrCat("the storage gave no answer within ",
                                                  absl::FormatDuration(options_.read_deadline)));
}

void RangeReader::GiveUp(Attempt& attempt) {
  attempt.abandoned = true;
  ++counters_.stuck_threads;
  const int most = options_.num_threads + options_.max_stuck_threads;
  if (num_live_threads() >= options_.num_threads) return;
  if (static_cast<int>(threads_.size()) < most) {
    threads_.emplace_back(&RangeReader::RunThread, this);
  }
}

void RangeReader::RunThread() {
  while (true) {
    std::shared_ptr<Attempt> attempt;
    {
      SteadyMutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &RangeReader::HasWorkOrStopped));
      if (stopped_) {
        ++num_ended_threads_;
        return;
      }
      attempt = std::move(queue_.front());
      queue_.pop_front();
      attempt->started = true;
    }
    absl::Status status = ReadOnce(*attempt);
    SteadyMutexLock lock(&mutex_);
    if (attempt->abandoned) --counters_.stuck_threads;
    if (status.ok()) {
      for (const FileRange& range : attempt->ranges) counters_.read_bytes += range.length;
    }
    attempt->status = std::move(status);
    attempt->done = true;
  }
}

absl::Status RangeReader::ReadOnce(const Attempt& attempt) const {
  for (const FileRange& range : attempt.ranges) {
    const absl::Status status = ReadRange(attempt, range);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status RangeReader::ReadRange(const Attempt& attempt, const FileRange& range) const {
  std::vector<std::span<std::byte>> pieces;
  uint64_t done = 0;
  while (done < range.length) {
    const uint64_t at = range.file_offset + done;
    NextPieces(range, done, attempt.buffer->span(), pieces);
    const absl::StatusOr<size_t> count =
        source_.ReadAt(attempt.file, at, std::span<const std::span<std::byte>>(pieces));
    if (!count.ok()) return count.status();
    if (*count == 0) {
      return absl::DataLossError(
          absl::StrCat("the file ends at byte ", at, ", ", range.length - done, " bytes early"));
    }
    done += *count;
  }
  return absl::OkStatus();
}

}  // namespace baton::loader
