// A SchedulerClient whose sequences outlive the scheduler: each stream mirrors the tokens that
// came, and when the scheduler is lost it waits for the next one and goes on there after these
// tokens.
//
//   running --lost--> waiting --scheduler present--> running ... --ended, or given up--> over
//
// Lost means that nobody judged the sequence: the connection broke, the scheduler hangs, or it is
// shutting down. What a scheduler says of a sequence passes unchanged; only that its queue is full
// is no verdict on one that an earlier scheduler had taken, which waits for room.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

#include "services/gateway/clients/scheduler_client.h"
#include "services/gateway/loop/executor.h"

namespace baton::gateway {

class ResumingStream;

// On the executor's thread only.
class ResumingSchedulerClient final : public SchedulerClient {
 public:
  struct Options {
    // How long a sequence waits for a scheduler, from its loss on.
    absl::Duration patience = absl::Seconds(30);
    std::function<void()> on_resubmission;  // may be empty
  };

  // `client` and `executor` must outlive this; this must outlive its streams.
  ResumingSchedulerClient(SchedulerClient& client, Executor& executor, Options options)
      : client_(client), executor_(executor), options_(std::move(options)) {}

  // Whether the scheduler answers now. Absent at first: what is submitted waits. Going absent ends
  // every running call, for a scheduler that hangs does not end them itself.
  void SetPresent(bool present);

  // No scheduler that comes will do: ends what waits for one.
  void FailWaiting(const absl::Status& status);

  // Errors besides those of the scheduler: Unavailable with RetryAfter (no scheduler for too long),
  // DeadlineExceeded, Internal (a sequence that was there each time several schedulers in a row
  // were lost).
  std::unique_ptr<SubmitStream> Submit(const v1::SubmitRequest& request,
                                       const SubmitOptions& options,
                                       SubmitObserver& observer) override;
  std::unique_ptr<GroupStream> WatchGroup(GroupStateCallback on_state,
                                          GroupLostCallback on_lost) override {
    return client_.WatchGroup(std::move(on_state), std::move(on_lost));
  }

 private:
  friend class ResumingStream;

  // Calls `work` for each stream that is not over; it may bring others to their end.
  void ForEach(const std::function<void(ResumingStream&)>& work);

  SchedulerClient& client_;
  Executor& executor_;
  const Options options_;
  bool present_ = false;
  absl::Time absent_since_ = absl::InfiniteFuture();  // for as long as it was ever present
  absl::flat_hash_set<ResumingStream*> streams_;      // those that are not over
};

}  // namespace baton::gateway
