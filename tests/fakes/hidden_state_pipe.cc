#include "tests/fakes/hidden_state_pipe.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace baton::fakes {

absl::StatusOr<TensorView> HiddenStatePipe::Receive(const stage::HiddenStateKey& key,
                                                    int64_t num_tokens, absl::Time deadline) {
  absl::MutexLock lock(&mutex_);
  const auto arrived = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto slot = slots_.find(KeyOf(key));
    return cancelled_ || (slot != slots_.end() && slot->second.sent);
  };
  if (!mutex_.AwaitWithDeadline(absl::Condition(&arrived), deadline)) {
    return absl::DeadlineExceededError("no hidden states");
  }
  if (cancelled_) return absl::CancelledError("pipe");
  if (key.step_id == damaged_step_ && key.rank == damaged_rank_) {
    return absl::DataLossError("checksum");
  }
  const TensorView view = slots_.at(KeyOf(key)).view;
  if (view.rows != num_tokens) {
    return absl::DataLossError(absl::StrCat(view.rows, " rows instead of ", num_tokens));
  }
  return view;
}

void HiddenStatePipe::Release(const stage::HiddenStateKey& key) {
  absl::MutexLock lock(&mutex_);
  slots_.erase(KeyOf(key));
}

absl::StatusOr<TensorView> HiddenStatePipe::Acquire(const stage::HiddenStateKey& key,
                                                    int64_t num_tokens, absl::Time deadline) {
  absl::MutexLock lock(&mutex_);
  const auto has_room = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return cancelled_ || NumHeldBy(key.rank) < max_steps_;
  };
  if (!mutex_.AwaitWithDeadline(absl::Condition(&has_room), deadline)) {
    return absl::DeadlineExceededError("no free slot");
  }
  if (cancelled_) return absl::CancelledError("pipe");
  Slot& slot = slots_[KeyOf(key)];
  slot.bytes = AlignedBuffer(static_cast<size_t>(num_tokens * slice_columns_) * SizeOf(type_));
  slot.view = slot.bytes.AsTensor(type_, num_tokens, slice_columns_);
  return slot.view;
}

absl::Status HiddenStatePipe::Send(const stage::HiddenStateKey& key) {
  absl::MutexLock lock(&mutex_);
  const auto may_go = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return cancelled_ || held_rank_ != key.rank;
  };
  is_holding_ = is_holding_ || !may_go();
  mutex_.Await(absl::Condition(&may_go));
  if (cancelled_) return absl::CancelledError("pipe");
  slots_.at(KeyOf(key)).sent = true;
  return absl::OkStatus();
}

void HiddenStatePipe::Cancel() {
  absl::MutexLock lock(&mutex_);
  cancelled_ = true;
}

void HiddenStatePipe::HoldSends(int rank) {
  absl::MutexLock lock(&mutex_);
  held_rank_ = rank;
}

void HiddenStatePipe::LetSendsGo() {
  absl::MutexLock lock(&mutex_);
  held_rank_ = -1;
  is_holding_ = false;
}

bool HiddenStatePipe::WaitForHeldSend(absl::Duration limit) const {
  absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithTimeout(absl::Condition(&is_holding_), limit);
}

void HiddenStatePipe::Damage(uint64_t step_id, int rank) {
  absl::MutexLock lock(&mutex_);
  damaged_step_ = step_id;
  damaged_rank_ = rank;
}

int HiddenStatePipe::num_held() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<int>(slots_.size());
}

int HiddenStatePipe::NumHeldBy(int rank) const {
  int held = 0;
  for (const auto& [key, slot] : slots_) held += std::get<2>(key) == rank ? 1 : 0;
  return held;
}

}  // namespace baton::fakes
