#include "services/stage_worker/execution/draw_exchange.h"

#include <utility>

namespace baton::stage {

void DrawExchange::Tell(uint64_t step_id, Draws draws) {
  if (num_askers_ == 0) return;
  const absl::MutexLock lock(&mutex_);
  told_[step_id] = {std::move(draws), num_askers_};
}

DrawExchange::Draws DrawExchange::Ask(uint64_t step_id) {
  const absl::MutexLock lock(&mutex_);
  const auto is_told = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return told_.contains(step_id);
  };
  mutex_.Await(absl::Condition(&is_told));
  const auto found = told_.find(step_id);
  Draws draws = found->second.draws;
  if (--found->second.num_left == 0) told_.erase(found);
  return draws;
}

}  // namespace baton::stage
