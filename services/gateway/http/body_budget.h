// What the bodies of all requests hold at once.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace baton::gateway {

// Who is told; null: nobody. Called on the thread that takes bytes or gives them back; what they
// refer to must outlive the budget and everything that holds a part of it.
struct BodyWatch {
  std::function<void(int64_t num_bytes)> on_change = nullptr;  // so many more; negative: fewer
  std::function<void()> on_refusal = nullptr;                  // some did not fit
};

// Bytes that have come, not those that are announced: a client can take nothing with a number. Each
// caller has what comes first, but no one has it all: an eighth is kept for callers that have no
// more than would be their share if one caller more came, and of that eighth such a caller leaves
// one part of (callers + 1). Nobody's bodies may have all, and so may the only one that is there.
// Any thread.
class BodyBudget final {
 public:
  explicit BodyBudget(size_t most_bytes, BodyWatch watch = {})
      : most_bytes_(most_bytes), watch_(std::move(watch)) {}
  BodyBudget(const BodyBudget&) = delete;
  BodyBudget& operator=(const BodyBudget&) = delete;

  // For a body of `caller` (empty: nobody's) that has taken `num_had` before. False, and nothing is
  // taken, if they do not fit beside the others and what is kept.
  bool Take(const std::string& caller, size_t num_had, size_t num_bytes)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void GiveBack(const std::string& caller, size_t num_bytes) ABSL_LOCKS_EXCLUDED(mutex_);
  // Taken and not given back.
  size_t num_bytes() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  bool TakeLocked(const std::string& caller, size_t num_had, size_t num_bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What is to stay free for others than `caller`, once it has `num_callers_bytes`.
  size_t KeptLocked(const std::string& caller, size_t num_callers_bytes) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const size_t most_bytes_;
  const BodyWatch watch_;
  mutable absl::Mutex mutex_;
  size_t num_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, size_t> taken_by_ ABSL_GUARDED_BY(mutex_);  // callers that have some
};

// One body's part of a budget; given back when this goes. Not thread-safe.
class BodyHold final {
 public:
  // Of each body so many bytes take nothing: whoever fills the budget with large bodies keeps no
  // usual request out. The number of connections bounds their sum.
  static constexpr size_t kFreeBytes = 16 << 10;

  BodyHold() = default;  // of no budget: it can only be replaced
  // `caller`: on whose account; empty: nobody's.
  explicit BodyHold(std::shared_ptr<BodyBudget> budget, std::string caller = "")
      : budget_(std::move(budget)), caller_(std::move(caller)) {}
  BodyHold(BodyHold&& other) noexcept
      : budget_(std::move(other.budget_)),
        caller_(std::move(other.caller_)),
        num_bytes_(std::exchange(other.num_bytes_, 0)) {}
  BodyHold& operator=(BodyHold&& other) noexcept {
    std::swap(budget_, other.budget_);
    std::swap(caller_, other.caller_);
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
  std::string caller_;
  size_t num_bytes_ = 0;  // of the body
};

}  // namespace baton::gateway
