// How many Submit calls are open, against a bound.
#pragma once

#include <atomic>
#include <cstdint>

namespace baton::scheduler {

// Calls may be open that neither run nor wait yet, or are being refused.
inline constexpr uint32_t kSpareCalls = 256;

// How many calls may be open where so many sequences run and so many wait. Those that are suspended
// do neither, and their calls stay open: as many as run and wait together may be (ReaderWatch).
constexpr uint32_t MostCalls(uint32_t max_running, uint32_t max_waiting) {
  return 2 * (max_running + max_waiting) + kSpareCalls;
}

// Any thread.
class LiveCalls final {
 public:
  explicit LiveCalls(uint32_t most) : most_(most) {}

  // Counts one more; false, and it is not counted, at the bound.
  bool Enter() {
    if (open_.fetch_add(1, std::memory_order_relaxed) < most_) return true;
    Leave();
    return false;
  }
  void Leave() { open_.fetch_sub(1, std::memory_order_relaxed); }
  uint32_t open() const { return open_.load(std::memory_order_relaxed); }

 private:
  const uint32_t most_;
  std::atomic<uint32_t> open_{0};
};

}  // namespace baton::scheduler
