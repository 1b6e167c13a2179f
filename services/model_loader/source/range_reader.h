// Reads byte ranges with a deadline and retries, on threads of its own: a read that the storage
// never answers costs one thread and one buffer until it returns, not the caller.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/concurrency/steady_mutex.h"
#include "services/model_loader/source/byte_source.h"
#include "services/model_loader/source/read_buffer.h"

namespace baton::loader {

// A part of every row of a range: row r's goes to buffer_offset + r * bytes, so that the part's
// bytes of all rows lie together.
struct RowPart {
  uint64_t bytes = 0;
  uint64_t buffer_offset = 0;
};

// `length` bytes at `file_offset`, to `buffer_offset` of the buffer.
struct FileRange {
  uint64_t file_offset = 0;
  uint64_t length = 0;
  uint64_t buffer_offset = 0;
  // Not empty: the range consists of whole rows of these parts, which are dealt out as they are
  // read; buffer_offset means nothing then.
  std::vector<RowPart> parts = {};
};

struct RangeReaderOptions {
  int num_threads = 4;
  // For one attempt at one group of ranges.
  absl::Duration read_deadline = absl::Seconds(30);
  int max_attempts = 3;
  // Threads that hang are replaced by fresh ones up to this many; after that, reads fail once no
  // thread is left.
  int max_stuck_threads = 16;
  // How long the destructor waits for reads that hang.
  absl::Duration stop_deadline = absl::Seconds(2);
  // Least capacity of a buffer; the size of most reads.
  size_t buffer_bytes = size_t{2} << 20;
};

// What several reads have in common so that they can be cancelled together. Must outlive them.
class ReadScope {
 private:
  friend class RangeReader;
  bool cancelled_ = false;  // under the reader's mutex
};

struct RangeReaderCounters {
  uint64_t read_bytes = 0;  // by attempts that succeeded
  uint64_t failed_attempts = 0;
  int stuck_threads = 0;  // in reads that were given up
};

class RangeReader final {
 public:
  // `source` must outlive this object. Errors: InvalidArgument (options).
  static absl::StatusOr<std::unique_ptr<RangeReader>> Create(const RangeReaderOptions& options,
                                                             const ByteSource* source);
  // A read that hangs in the kernel cannot be called back, and it writes to memory of ours: if one
  // is still stuck after stop_deadline, the process logs so and exits with status 1 here.
  ~RangeReader();

  // Fills a buffer of `buffer_bytes` from `ranges` of `file`. Any thread; at most num_threads reads
  // run at once, further calls wait their turn. Errors: DataLoss (the file ends early), Unavailable
  // (I/O error), NotFound (vanished), DeadlineExceeded (no answer from the storage); each names
  // file, offset and number of attempts. Cancelled once `scope` is.
  absl::StatusOr<std::shared_ptr<ReadBuffer>> Read(size_t file, std::span<const FileRange> ranges,
                                                   size_t buffer_bytes, const ReadScope& scope);

  // Current and later reads of `scope` end with Cancelled, without waiting for the storage.
  void Cancel(ReadScope* scope);

  RangeReaderCounters counters() const;
  const ByteSource& source() const { return source_; }

 private:
  // One attempt. Lives until both the caller and the thread have let go of it.
  struct Attempt {
    size_t file = 0;
    std::vector<FileRange> ranges;
    std::shared_ptr<ReadBuffer> buffer;
    bool started = false;  // the rest: under the reader's mutex
    bool done = false;
    bool abandoned = false;
    absl::Status status;
  };

  RangeReader(const RangeReaderOptions& options, const ByteSource* source);
  void RunThread();
  absl::Status ReadOnce(const Attempt& attempt) const;
  absl::Status ReadRange(const Attempt& attempt, const FileRange& range) const;
  absl::Status TryOnce(const std::shared_ptr<Attempt>& attempt, const ReadScope& scope);
  void GiveUp(Attempt& attempt) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasWorkOrStopped() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stopped_ || !queue_.empty();
  }
  int num_live_threads() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return static_cast<int>(threads_.size()) - counters_.stuck_threads;
  }

  const RangeReaderOptions options_;
  const ByteSource& source_;
  BufferPool buffers_;

  mutable SteadyMutex mutex_;
  std::deque<std::shared_ptr<Attempt>> queue_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  size_t num_ended_threads_ ABSL_GUARDED_BY(mutex_) = 0;
  RangeReaderCounters counters_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::loader
