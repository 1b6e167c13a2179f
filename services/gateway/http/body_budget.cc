#include "services/gateway/http/body_budget.h"

namespace baton::gateway {

bool BodyBudget::Take(size_t num_bytes) {
  size_t held = num_bytes_.load();
  do {
    if (num_bytes > most_bytes_ - held) {
      if (watch_.on_refusal) watch_.on_refusal();
      return false;
    }
  } while (!num_bytes_.compare_exchange_weak(held, held + num_bytes));
  if (watch_.on_change) watch_.on_change(static_cast<int64_t>(num_bytes));
  return true;
}

void BodyBudget::GiveBack(size_t num_bytes) {
  num_bytes_.fetch_sub(num_bytes);
  if (watch_.on_change) watch_.on_change(-static_cast<int64_t>(num_bytes));
}

bool BodyHold::Grow(size_t num_bytes) {
  const size_t more = Taken(num_bytes_ + num_bytes) - Taken(num_bytes_);
  if (more > 0 && !budget_->Take(more)) return false;
  num_bytes_ += num_bytes;
  return true;
}

void BodyHold::Release() {
  if (Taken(num_bytes_) > 0) budget_->GiveBack(Taken(num_bytes_));
  num_bytes_ = 0;
}

}  // namespace baton::gateway
