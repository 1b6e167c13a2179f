// One weight transfer between a loader's and a worker's transport in this process.
#pragma once

#include <atomic>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"

#include "common/transport/chunk_receiver.h"
#include "common/transport/chunk_sender.h"
#include "tests/unit/common/transport/transport_inputs.h"

namespace baton {

inline constexpr uint64_t kTransfer = 77;
inline constexpr size_t kMaxChunk = 1 << 20;

// Owns the memory of a transfer's slices; releases at once unless told to hold.
class MemorySink final : public SliceSink {
 public:
  explicit MemorySink(const std::vector<uint64_t>& slice_bytes) {
    for (const uint64_t bytes : slice_bytes) slices_.emplace_back(bytes);
  }
  void set_receiver(ChunkReceiver* receiver) { receiver_ = receiver; }
  void set_holds(bool holds) { holds_ = holds; }

  absl::StatusOr<std::span<std::byte>> Destination(size_t slice_index) override {
    if (refuses_) return absl::ResourceExhaustedError("no memory for slices");
    return std::span(slices_[slice_index]);
  }
  void SliceArrived(size_t slice_index) override {
    {
      const absl::MutexLock lock(&mutex_);
      arrived_.insert(slice_index);
    }
    if (!holds_) receiver_->ReleaseSlice(kTransfer, slice_index);
  }
  void set_refuses(bool refuses) { refuses_ = refuses; }
  bool AwaitArrival(size_t slice_index) const {
    const absl::MutexLock lock(&mutex_);
    const auto there = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
      return arrived_.contains(slice_index);
    };
    return mutex_.AwaitWithDeadline(absl::Condition(&there), Soon());
  }

  // What has arrived of a slice. The lock orders it behind SliceArrived where only the answer,
  // which travels through memory of UCX, tells that the slice is there.
  std::span<const std::byte> slice(size_t index) const {
    const absl::MutexLock lock(&mutex_);
    return slices_[index];
  }
  std::set<size_t> arrived() const {
    const absl::MutexLock lock(&mutex_);
    return arrived_;
  }

 private:
  ChunkReceiver* receiver_ = nullptr;
  std::vector<std::vector<std::byte>> slices_;
  std::atomic<bool> holds_{false};
  std::atomic<bool> refuses_{false};
  mutable absl::Mutex mutex_;
  std::set<size_t> arrived_ ABSL_GUARDED_BY(mutex_);
};

// A loader's and a worker's transport with one transfer between them.
class ChunkTransferOver : public testing::TestWithParam<const char*> {
 protected:
  ChunkTransferOver() : sink_({100, 3u << 20, 64, 700001}) {
    const std::string devices = absl::string_view(GetParam()) == "tcp" ? "lo" : "";
    loader_ =
        *Transport::Create({.name = "loader", .transports = GetParam(), .net_devices = devices});
    worker_ =
        *Transport::Create({.name = "worker", .transports = GetParam(), .net_devices = devices});
    receiver_ = ChunkReceiver::Create(worker_.get(), {.copies_own_memory = true});
    sink_.set_receiver(receiver_.get());
    EXPECT_TRUE(receiver_
                    ->BeginTransfer({.transfer_id = kTransfer,
                                     .slice_bytes = {100, 3u << 20, 64, 700001},
                                     .max_chunk_bytes = kMaxChunk,
                                     .sink = &sink_})
                    .ok());
  }

  std::unique_ptr<ChunkSender> MakeSender(ChunkSenderOptions options = {}) {
    auto sender =
        ChunkSender::Create(loader_.get(), worker_->address(), kTransfer, Soon(), options);
    EXPECT_TRUE(sender.ok()) << sender.status();
    return *std::move(sender);
  }

  // Sends one chunk and waits for its answer.
  static absl::Status SendOne(ChunkSender& sender, uint32_t slice, uint64_t offset,
                              std::span<const std::byte> payload) {
    absl::Notification answered;
    absl::Status answer;
    const absl::Status accepted =
        sender.SendChunk(slice, offset, payload, Soon(), [&](const absl::Status& status) {
          answer = status;
          answered.Notify();
        });
    if (!accepted.ok()) return accepted;
    answered.WaitForNotification();
    return answer;
  }

  MemorySink sink_;
  std::unique_ptr<Transport> loader_;
  std::unique_ptr<Transport> worker_;
  std::unique_ptr<ChunkReceiver> receiver_;
};

}  // namespace baton
