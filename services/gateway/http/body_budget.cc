#include "services/gateway/http/body_budget.h"

namespace baton::gateway {
namespace {

// This part of the bytes is for callers with few of them.
constexpr size_t kKeptParts = 8;

}  // namespace

// As RequestSlots keeps places.
size_t BodyBudget::KeptLocked(const std::string& caller, size_t num_callers_bytes) const {
  if (caller.empty()) return 0;
  const size_t kept = most_bytes_ / kKeptParts;
  // Parts if one more came.
  const size_t num_parts = taken_by_.size() + (taken_by_.contains(caller) ? 1 : 2);
  return num_callers_bytes <= most_bytes_ / num_parts ? kept / num_parts : kept;
}

bool BodyBudget::TakeLocked(const std::string& caller, size_t num_had, size_t num_bytes) {
  const size_t num_free = most_bytes_ - num_bytes_;
  if (num_bytes > num_free) return false;
  const auto found = taken_by_.find(caller);
  const size_t taken = found == taken_by_.end() ? 0 : found->second;
  const bool is_alone = num_bytes_ == num_had;
  if (!is_alone && KeptLocked(caller, taken + num_bytes) > num_free - num_bytes) return false;
  taken_by_[caller] += num_bytes;
  num_bytes_ += num_bytes;
  return true;
}

bool BodyBudget::Take(const std::string& caller, size_t num_had, size_t num_bytes) {
  bool fits = false;
  {
    const absl::MutexLock lock(&mutex_);
    fits = TakeLocked(caller, num_had, num_bytes);
  }
  if (fits && watch_.on_change) watch_.on_change(static_cast<int64_t>(num_bytes));
  if (!fits && watch_.on_refusal) watch_.on_refusal();
  return fits;
}

void BodyBudget::GiveBack(const std::string& caller, size_t num_bytes) {
  {
    const absl::MutexLock lock(&mutex_);
    num_bytes_ -= num_bytes;
    const auto found = taken_by_.find(caller);
    found->second -= num_bytes;
    if (found->second == 0) taken_by_.erase(found);
  }
  if (watch_.on_change) watch_.on_change(-static_cast<int64_t>(num_bytes));
}

size_t BodyBudget::num_bytes() const {
  const absl::MutexLock lock(&mutex_);
  return num_bytes_;
}

bool BodyHold::Grow(size_t num_bytes) {
  const size_t had = Taken(num_bytes_);
  const size_t more = Taken(num_bytes_ + num_bytes) - had;
  if (more > 0 && !budget_->Take(caller_, had, more)) return false;
  num_bytes_ += num_bytes;
  return true;
}

void BodyHold::Release() {
  if (Taken(num_bytes_) > 0) budget_->GiveBack(caller_, Taken(num_bytes_));
  num_bytes_ = 0;
}

}  // namespace baton::gateway
