#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "common/transport/transport.h"

namespace baton {

// A deadline that only a hang misses.
inline absl::Time Soon() { return absl::Now() + absl::Seconds(30); }

// `size` bytes that depend on `seed` alone.
inline std::vector<std::byte> RandomBytes(size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

// Takes every frame whose offset and length lie inside one buffer, and remembers what came.
class BufferReceiver final : public FrameReceiver {
 public:
  explicit BufferReceiver(size_t size) : buffer_(size) {}

  absl::StatusOr<std::span<std::byte>> Accept(const FrameHeader& header) override {
    if (header.offset + header.payload_bytes > buffer_.size()) {
      return absl::InvalidArgumentError("outside the buffer");
    }
    const absl::MutexLock after_reading(&mutex_);  // what Holds() read for the frame before
    return std::span(buffer_).subspan(header.offset, header.payload_bytes);
  }
  void Complete(const FrameHeader& header, const absl::Status& status) override {
    const absl::MutexLock lock(&mutex_);
    last_header_ = header;
    statuses_.push_back(status);
  }
  void PeerLost(uint64_t source) override {
    const absl::MutexLock lock(&mutex_);
    lost_.push_back(source);
  }

  absl::Status WaitForFrames(size_t count) {
    const absl::MutexLock lock(&mutex_);
    const auto enough = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return statuses_.size() >= count; };
    if (!mutex_.AwaitWithDeadline(absl::Condition(&enough), Soon())) {
      return absl::DeadlineExceededError("frames are missing");
    }
    return statuses_[count - 1];
  }
  bool WaitForLoss(uint64_t source) {
    const absl::MutexLock lock(&mutex_);
    const auto lost = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      return std::find(lost_.begin(), lost_.end(), source) != lost_.end();
    };
    return mutex_.AwaitWithDeadline(absl::Condition(&lost), Soon());
  }
  FrameHeader last_header() {
    const absl::MutexLock lock(&mutex_);
    return last_header_;
  }
  bool Holds(size_t offset, std::span<const std::byte> bytes) {
    const absl::MutexLock lock(&mutex_);
    return std::equal(bytes.begin(), bytes.end(), buffer_.data() + offset);
  }

 private:
  std::vector<std::byte> buffer_;
  absl::Mutex mutex_;
  std::vector<absl::Status> statuses_ ABSL_GUARDED_BY(mutex_);
  std::vector<uint64_t> lost_ ABSL_GUARDED_BY(mutex_);
  FrameHeader last_header_ ABSL_GUARDED_BY(mutex_);
};

inline absl::Status SendAndWait(Peer& peer, const FrameHeader& header,
                                std::span<const std::byte> payload, bool has_payload_crc = false) {
  absl::Notification sent;
  absl::Status result;
  peer.Send(
      header, payload,
      [&](const absl::Status& status) {
        result = status;
        sent.Notify();
      },
      has_payload_crc);
  sent.WaitForNotification();
  return result;
}

// Says hello as the transport at `address` would, as its `connection`th connection.
inline absl::Status SendHello(Peer& peer, absl::string_view address, uint64_t connection = 1) {
  const auto length = static_cast<uint16_t>(address.size());
  std::vector<std::byte> payload(sizeof(length) + address.size() + 1, std::byte{'x'});
  std::memcpy(payload.data(), &length, sizeof(length));
  std::memcpy(payload.data() + sizeof(length), address.data(), address.size());
  return SendAndWait(
      peer, {.kind = FrameKind::kHello, .stream_id = connection, .total_bytes = payload.size()},
      payload);
}

}  // namespace baton
