// The stage's neighbours over UCX, as the executor sees them: a source and a sink of hidden states.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "common/tensor/data_type.h"
#include "common/transport/slot_channel.h"
#include "common/transport/transport.h"
#include "services/stage_worker/clients/link_epoch.h"
#include "services/stage_worker/execution/hidden_states.h"

namespace baton::stage {

struct StageLinkOptions {
  bool has_previous = false;  // not the first stage
  bool has_next = false;      // not the last stage
  int num_ranks = 1;
  int64_t part_columns = 0;  // of one rank's slice: hidden / N
  DataType type = DataType::kBFloat16;
  int64_t max_step_tokens = 0;
  int64_t max_steps_in_flight = 1;  // slots at either end
  double least_rate = 0;            // as SlotShape's
};

// Threads: EndEpoch, BeginEpoch and Abort from the control thread, the rest from device threads.
class StageLink final : public HiddenStateSource, public HiddenStateSink {
 public:
  // `transport` must outlive the link. Errors: InvalidArgument (sizes).
  static absl::StatusOr<std::unique_ptr<StageLink>> Create(Transport* transport,
                                                           const StageLinkOptions& options);

  // Leaves the epoch and drops everything of it; may break connections to neighbours that hang.
  // Errors: DeadlineExceeded.
  absl::Status EndEpoch(absl::Time deadline);
  // Connects to the next stage. Errors: FailedPrecondition (the old epoch has not ended),
  // DeadlineExceeded, Unavailable (the next stage cannot be reached), InvalidArgument (addresses).
  absl::Status BeginEpoch(const LinkEpoch& epoch, absl::Time deadline);
  // Ends all waits of this epoch.
  void Abort(const absl::Status& reason);

  HiddenStateSource* source() { return receiver_ != nullptr ? this : nullptr; }
  HiddenStateSink* sink() { return sender_ != nullptr ? this : nullptr; }
  // "8 ranks to stage-1 over tcp/lo", for logs.
  const std::string& description() const { return description_; }
  // As SlotReceiver::quiet_since; InfinitePast on the first stage. Any thread.
  absl::Time quiet_since() const {
    return receiver_ != nullptr ? receiver_->quiet_since() : absl::InfinitePast();
  }

  // Whether something of the step that a device has asked for has yet to come, or may not be sent
  // yet: see SlotReceiver::IsAwaited and SlotSender::LacksCredit. Any thread.
  bool IsAwaited(uint64_t step_id) const;
  bool LacksCredit(uint64_t step_id) const;

  absl::StatusOr<TensorView> Receive(const HiddenStateKey& key, int64_t num_tokens,
                                     absl::Time deadline) override;
  void Release(const HiddenStateKey& key) override;
  absl::StatusOr<TensorView> Acquire(const HiddenStateKey& key, int64_t num_tokens,
                                     absl::Time deadline) override;
  absl::Status Send(const HiddenStateKey& key) override;

 private:
  StageLink(Transport* transport, const StageLinkOptions& options)
      : transport_(transport), options_(options) {}

  absl::Status ConnectNext(const LinkEpoch& epoch, absl::Time deadline);
  // Numbers the steps that carry hidden states, in the order in which ranks first ask; all ranks
  // ask in the order of step_id.
  class StepNumbers {
   public:
    void Reset();
    uint64_t NumberOf(uint64_t step_id);
    // Nullopt: no rank has asked.
    std::optional<uint64_t> Find(uint64_t step_id) const;

   private:
    mutable absl::Mutex mutex_;
    uint64_t last_ ABSL_GUARDED_BY(mutex_) = 0;
    std::map<uint64_t, uint64_t> numbers_ ABSL_GUARDED_BY(mutex_);  // of recent steps
  };

  absl::StatusOr<PartKey> PartOf(const HiddenStateKey& key, StepNumbers& numbers) const;
  size_t PartBytes(int64_t num_tokens) const;
  TensorView ViewOf(std::span<std::byte> part, int64_t num_tokens) const;

  Transport* const transport_;
  const StageLinkOptions options_;
  std::unique_ptr<SlotReceiver> receiver_;  // null on the first stage
  std::unique_ptr<SlotSender> sender_;      // null on the last stage
  StepNumbers received_;
  StepNumbers sent_;
  // Written while no device is in a step of this link.
  std::atomic<uint64_t> local_epoch_{0};
  std::atomic<uint64_t> frame_epoch_{0};
  std::string description_ = "not connected";
};

}  // namespace baton::stage
