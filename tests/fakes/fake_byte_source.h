// Files in memory that hang, fail and end early on command.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

#include "services/model_loader/source/byte_source.h"

namespace baton::testing {

class FakeByteSource final : public loader::ByteSource {
 public:
  explicit FakeByteSource(std::vector<std::string> files) : files_(std::move(files)) {
    for (size_t i = 0; i < files_.size(); ++i) names_.push_back("file-" + std::to_string(i));
  }

  // The next `count` reads do not return before Release.
  void HangNext(int count) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    hangs_ = count;
    released_ = false;
    hanging_ = false;
  }
  void Release() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    hangs_ = 0;
    released_ = true;
  }
  // The next `count` reads fail with `status`.
  void FailNext(int count, absl::Status status) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    failures_ = count;
    failure_ = std::move(status);
  }
  // A read brings at most this many bytes.
  void set_most_per_read(size_t bytes) { most_per_read_ = bytes; }
  // Waits until a read has been asked for since HangNext.
  void AwaitHang() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&hanging_));
  }
  int num_reads() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return num_reads_;
  }
  uint64_t bytes_read() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return bytes_read_;
  }

  size_t num_files() const override { return files_.size(); }
  const std::string& name(size_t file) const override { return names_[file]; }
  uint64_t size(size_t file) const override { return files_[file].size(); }
  absl::StatusOr<size_t> ReadAt(size_t file, uint64_t offset,
                                std::span<std::byte> out) const override {
    return ReadAt(file, offset, std::span<const std::span<std::byte>>(&out, 1));
  }
  absl::StatusOr<size_t> ReadAt(size_t file, uint64_t offset,
                                std::span<const std::span<std::byte>> pieces) const override {
    absl::MutexLock lock(&mutex_);
    ++num_reads_;
    if (hangs_ > 0) {
      --hangs_;
      hanging_ = true;
      mutex_.Await(absl::Condition(&released_));
    }
    if (failures_ > 0) {
      --failures_;
      return failure_;
    }
    const std::string& bytes = files_[file];
    size_t done = 0;
    for (const std::span<std::byte> piece : pieces) {
      if (offset + done >= bytes.size()) break;
      const size_t count =
          std::min({piece.size(), bytes.size() - offset - done, most_per_read_ - done});
      std::memcpy(piece.data(), bytes.data() + offset + done, count);
      done += count;
    }
    bytes_read_ += done;
    return done;
  }
  absl::Status CheckUnchanged(size_t) const override { return absl::OkStatus(); }

 private:
  const std::vector<std::string> files_;
  std::vector<std::string> names_;
  size_t most_per_read_ = SIZE_MAX;
  mutable absl::Mutex mutex_;
  mutable int hangs_ ABSL_GUARDED_BY(mutex_) = 0;
  bool released_ ABSL_GUARDED_BY(mutex_) = false;
  mutable bool hanging_ ABSL_GUARDED_BY(mutex_) = false;
  mutable int failures_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  mutable int num_reads_ ABSL_GUARDED_BY(mutex_) = 0;
  mutable uint64_t bytes_read_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace baton::testing
