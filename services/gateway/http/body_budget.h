// What the bodies of all requests hold at once.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

namespace baton::gateway {

// Who is told; null: nobody. Called on the thread that takes bytes or gives them back; what they
// refer to must outlive the budget and everything that holds a part of it.
struct BodyWatch {
  std::function<void(int64_t num_bytes)> on_change = nullptr;  // so many more; negative: fewer
  std::function<void()> on_refusal = nullptr;                  // some did not fit
};

// Bytes that have come, not those that are announced: a client can take nothing with a number. Any
// thread.
class BodyBudget final {
 public:
  explicit BodyBudget(size_t most_bytes, BodyWatch watch = {})
      : most_bytes_(most_bytes), watch_(std::move(watch)) {}
  BodyBudget(const BodyBudget&) = delete;
  BodyBudget& operator=(const BodyBudget&) = delete;

  // False, and nothing is taken, if all would have more than the most.
  bool Take(size_t num_bytes);
  void GiveBack(size_t num_bytes);
  // Taken and not given back.
  size_t num_bytes() const { return num_bytes_.load(); }

 private:
  const size_t most_bytes_;
  const BodyWatch watch_;
  std::atomic<size_t> num_bytes_ = 0;
};

// One body's part of a budget; given back when this goes. Not thread-safe.
class BodyHold final {
 public:
  // Of each body so many bytes take nothing: whoever fills the budget with large bodies keeps no
  // usual request out. The number of connections bounds their sum.
  static constexpr size_t kFreeBytes = 16 << 10;

  BodyHold() = default;  // of no budget: it can only be replaced
  explicit BodyHold(std::shared_ptr<BodyBudget> budget) : budget_(std::move(budget)) {}
  BodyHold(BodyHold&& other) noexcept
      : budget_(std::move(other.budget_)), num_bytes_(std::exchange(other.num_bytes_, 0)) {}
  BodyHold& operator=(BodyHold&& other) noexcept {
    std::swap(budget_, other.budget_);
    std::swap(num_bytes_, other.num_bytes_);
    return *this;
  }
  ~BodyHold() { Release(); }

  // The body has so many more; false as BodyBudget::Take.
  bool Grow(size_t num_bytes);
  // Gives back what it has.
  void Release();

 private:
  // What a body takes of the budget.
  static size_t Taken(size_t num_bytes) { return std::max(num_bytes, kFreeBytes) - kFreeBytes; }

  std::shared_ptr<BodyBudget> budget_;  // null only if nothing was taken
  size_t num_bytes_ = 0;                // of the body
};

}  // namespace baton::gateway
