// A receiver of weight chunks in the same process: puts slices together and counts what overlaps.
#pragma once

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

#include "common/transport/chunk_sender.h"

namespace baton::testing {

class FakeChunkSender final : public ChunkSender {
 public:
  explicit FakeChunkSender(const std::vector<uint64_t>& slice_bytes) {
    for (const uint64_t bytes : slice_bytes) {
      slices_.emplace_back(bytes, '\0');
      taken_.emplace_back(bytes, false);
    }
  }

  // Refuses from the `count`-th chunk on.
  void RefuseAfter(int count, absl::Status reason) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    accepted_before_refusal_ = count;
    refusal_ = std::move(reason);
  }

  // Takes chunks without an answer, until AnswerHeld or the end of the transfer.
  void HoldAnswers() {
    absl::MutexLock lock(&mutex_);
    holds_ = true;
  }
  // Answers what was held, and from now on at once.
  void AnswerHeld(const absl::Status& status = absl::OkStatus()) {
    std::vector<Done> held;
    {
      absl::MutexLock lock(&mutex_);
      holds_ = false;
      held.swap(held_);
    }
    for (const Done& done : held) done(status);
  }

  absl::Status SendChunk(uint32_t slice_index, uint64_t offset, std::span<const std::byte> payload,
                         absl::Time, Done done) override {
    {
      absl::MutexLock lock(&mutex_);
      if (!cancelled_.ok()) return cancelled_;
      if (accepted_before_refusal_-- == 0) cancelled_ = refusal_;
      if (!cancelled_.ok()) return cancelled_;
      ++num_chunks_;
      largest_chunk_ = std::max(largest_chunk_, payload.size());
      if (slice_index >= slices_.size() || offset > slices_[slice_index].size() ||
          payload.size() > slices_[slice_index].size() - offset) {
        ++num_misplaced_;
      } else {
        std::memcpy(slices_[slice_index].data() + offset, payload.data(), payload.size());
        for (size_t i = 0; i < payload.size(); ++i) {
          if (taken_[slice_index][offset + i]) ++num_misplaced_;
          taken_[slice_index][offset + i] = true;
        }
        taken_bytes_ += payload.size();
      }
      if (holds_) {
        held_.push_back(std::move(done));
        return absl::OkStatus();
      }
    }
    done(absl::OkStatus());
    return absl::OkStatus();
  }
  absl::Status Finish(absl::Time) override {
    absl::MutexLock lock(&mutex_);
    return cancelled_;
  }
  void Cancel(const absl::Status& reason) override {
    {
      absl::MutexLock lock(&mutex_);
      if (cancelled_.ok()) cancelled_ = reason;
    }
    AnswerHeld(reason);
  }
  uint64_t taken_bytes() const override {
    absl::MutexLock lock(&mutex_);
    return taken_bytes_;
  }
  std::string DescribeTransport() const override { return "memory"; }

  // Read after the transfer.
  const std::vector<std::string>& slices() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return slices_; }
  bool complete() const {
    absl::MutexLock lock(&mutex_);
    for (const std::vector<bool>& slice : taken_) {
      for (const bool taken : slice) {
        if (!taken) return false;
      }
    }
    return num_misplaced_ == 0;
  }
  int num_chunks() const {
    absl::MutexLock lock(&mutex_);
    return num_chunks_;
  }
  size_t largest_chunk() const {
    absl::MutexLock lock(&mutex_);
    return largest_chunk_;
  }

 private:
  mutable absl::Mutex mutex_;
  std::vector<std::string> slices_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::vector<bool>> taken_ ABSL_GUARDED_BY(mutex_);
  absl::Status cancelled_ ABSL_GUARDED_BY(mutex_);
  absl::Status refusal_ ABSL_GUARDED_BY(mutex_);
  std::vector<Done> held_ ABSL_GUARDED_BY(mutex_);
  bool holds_ ABSL_GUARDED_BY(mutex_) = false;
  int accepted_before_refusal_ ABSL_GUARDED_BY(mutex_) = -1;
  int num_chunks_ ABSL_GUARDED_BY(mutex_) = 0;
  int num_misplaced_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t largest_chunk_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t taken_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace baton::testing
