// What the gateway asks of the scheduler.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "protos/baton/v1/scheduling.pb.h"
#include "services/gateway/admission/request_headers.h"

namespace baton::gateway {

// Receives the news of one sequence, on the client's executor.
class SubmitObserver {
 public:
  virtual ~SubmitObserver() = default;
  // One or more messages that have arrived, in order; may be moved from.
  virtual void OnResponses(std::vector<v1::SubmitResponse>& responses) = 0;
  // The stream's end; nothing follows. Not called after the stream was dropped.
  virtual void OnDone(const absl::Status& status) = 0;
};

// A running sequence. Destroying it cancels the sequence, and the observer hears no more. On the
// executor's thread only.
class SubmitStream {
 public:
  virtual ~SubmitStream() = default;
  // While paused no message is delivered; a bounded number is read ahead, the rest stays with the
  // scheduler.
  virtual void SetPaused(bool paused) = 0;
  // The sequence has ended by itself: the stream is not cancelled when it is destroyed, and the
  // observer hears no more.
  virtual void Finish() = 0;
};

struct SubmitOptions {
  absl::Time deadline = absl::InfiniteFuture();  // of SteadyNow()
  TraceContext trace;                            // of the request, for the scheduler's metadata
};

using GroupStateCallback = std::function<void(const v1::GroupState&)>;
using GroupLostCallback = std::function<void(const absl::Status&)>;

class GroupStream {
 public:
  virtual ~GroupStream() = default;
};

class SchedulerClient {
 public:
  virtual ~SchedulerClient() = default;

  // Starts a sequence. `observer` must outlive the stream. On the executor's thread only.
  virtual std::unique_ptr<SubmitStream> Submit(const v1::SubmitRequest& request,
                                               const SubmitOptions& options,
                                               SubmitObserver& observer) = 0;

  // Follows the state of the group until dropped or until `on_lost` says why it ended (once; then
  // the caller may watch again). Both run on the executor. On the executor's thread only.
  virtual std::unique_ptr<GroupStream> WatchGroup(GroupStateCallback on_state,
                                                  GroupLostCallback on_lost) = 0;
};

}  // namespace baton::gateway
