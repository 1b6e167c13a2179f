// Hidden states from one stage to the next within a process.
#pragma once

#include <cstdint>
#include <map>
#include <tuple>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

#include "common/tensor/aligned_buffer.h"
#include "services/stage_worker/execution/hidden_states.h"

namespace baton::fakes {

// One epoch's pipe between two stages: the first one's sink and the second one's source. At most
// `max_steps` steps of a rank are under way.
class HiddenStatePipe final : public stage::HiddenStateSource, public stage::HiddenStateSink {
 public:
  HiddenStatePipe(DataType type, int64_t slice_columns, int max_steps)
      : type_(type), slice_columns_(slice_columns), max_steps_(max_steps) {}

  absl::StatusOr<TensorView> Receive(const stage::HiddenStateKey& key, int64_t num_tokens,
                                     absl::Time deadline) override;
  void Release(const stage::HiddenStateKey& key) override;
  absl::StatusOr<TensorView> Acquire(const stage::HiddenStateKey& key, int64_t num_tokens,
                                     absl::Time deadline) override;
  absl::Status Send(const stage::HiddenStateKey& key) override;

  // Ends waits, now and later, with Cancelled.
  void Cancel();
  // Send for `rank` does not return, and nothing of it comes, until LetSendsGo.
  void HoldSends(int rank);
  void LetSendsGo();
  // Waits until a Send is held; false if none is within `limit`.
  bool WaitForHeldSend(absl::Duration limit) const;
  // Receive of `step_id` for `rank` will fail with DataLoss.
  void Damage(uint64_t step_id, int rank);

  int num_held() const;

 private:
  using Key = std::tuple<uint64_t, uint64_t, int>;
  struct Slot {
    AlignedBuffer bytes;
    TensorView view;
    bool sent = false;
  };
  static Key KeyOf(const stage::HiddenStateKey& key) { return {key.epoch, key.step_id, key.rank}; }
  int NumHeldBy(int rank) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const DataType type_;
  const int64_t slice_columns_;
  const int max_steps_;
  mutable absl::Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<Key, Slot> slots_ ABSL_GUARDED_BY(mutex_);
  int held_rank_ ABSL_GUARDED_BY(mutex_) = -1;  // whose sends wait
  bool is_holding_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t damaged_step_ ABSL_GUARDED_BY(mutex_) = 0;
  int damaged_rank_ ABSL_GUARDED_BY(mutex_) = -1;
};

}  // namespace baton::fakes
