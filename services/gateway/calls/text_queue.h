// Long requests, and constrained ones, on their way through the text worker.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "services/gateway/loop/executor.h"

namespace baton::gateway {

// What a live call tells the worker about its request. Shared by both.
struct TextJob {
  absl::Time deadline = absl::InfiniteFuture();  // of SteadyNow()
  std::atomic<bool> cancelled{false};

  // OK while the outcome is still wanted; else Cancelled or DeadlineExceeded.
  absl::Status CheckWanted() const;
};

// Bounds the bytes of the requests that wait for the worker or are being worked on. Any thread.
class TextQueue {
 public:
  // Longer bodies are parsed and encoded beside the loop (a megabyte of prompt takes a good part of
  // a second).
  static constexpr size_t kShortBodyBytes = 16 << 10;
  static constexpr size_t kDefaultCapacityBytes = 64 << 20;

  // `worker` must outlive this.
  explicit TextQueue(Executor& worker, size_t capacity_bytes = kDefaultCapacityBytes)
      : worker_(worker), capacity_bytes_(capacity_bytes) {}

  // Runs `work` on the worker. Errors: Unavailable with RetryAfter (reason "server_is_overloaded")
  // when `num_bytes` more do not fit; `work` is dropped then.
  absl::Status Post(size_t num_bytes, std::function<void()> work);

  size_t num_bytes() const { return num_bytes_.load(); }

 private:
  Executor& worker_;
  const size_t capacity_bytes_;
  std::atomic<size_t> num_bytes_{0};
};

}  // namespace baton::gateway
