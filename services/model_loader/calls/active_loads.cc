#include "services/model_loader/calls/active_loads.h"

#include "absl/strings/str_cat.h"

#include "common/concurrency/steady_mutex.h"

namespace baton::loader {
namespace {

absl::Status StopReason() { return absl::UnavailableError("the model-loader stops"); }

}  // namespace

absl::Status ActiveLoads::Enter() {
  SteadyMutexLock lock(&mutex_);
  if (draining_) return StopReason();
  if (num_loads_ >= max_loads_) {
    return absl::ResourceExhaustedError(
        absl::StrCat(num_loads_,
                     " loads are under way, the most that --max-concurrent-loads "
                     "allows; try again later"));
  }
  ++num_loads_;
  return absl::OkStatus();
}

void ActiveLoads::Leave() {
  SteadyMutexLock lock(&mutex_);
  --num_loads_;
}

void ActiveLoads::Attach(SliceTransfer* transfer) {
  SteadyMutexLock lock(&mutex_);
  transfers_.insert(transfer);
  if (cancelled_) transfer->Cancel(StopReason());
}

void ActiveLoads::Detach(SliceTransfer* transfer) {
  SteadyMutexLock lock(&mutex_);
  transfers_.erase(transfer);
}

bool ActiveLoads::Drain(absl::Time deadline) {
  SteadyMutexLock lock(&mutex_);
  draining_ = true;
  if (mutex_.AwaitWithDeadline(absl::Condition(this, &ActiveLoads::Empty), deadline)) return true;
  cancelled_ = true;
  for (SliceTransfer* transfer : transfers_) transfer->Cancel(StopReason());
  return false;
}

}  // namespace baton::loader
