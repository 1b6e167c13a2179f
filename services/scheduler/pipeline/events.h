// What the rest of the process tells the step loop.
#pragma once

#include <memory>
#include <variant>

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "protos/baton/v1/scheduling.pb.h"
#include "protos/baton/v1/stage.pb.h"
#include "services/scheduler/core/sequence.h"
#include "services/scheduler/pipeline/monotonic_time.h"
#include "services/scheduler/pipeline/stage_link.h"
#include "services/scheduler/pipeline/token_sink.h"

namespace baton::scheduler {

// A new sequence; `request` is checked but for its prompt.
struct SubmitEvent {
  SequenceId id = 0;
  v1::SubmitRequest request;
  std::shared_ptr<TokenSink> sink;
  MonotonicTime deadline = MonotonicTime::max();  // its caller waits no longer
};

// Its caller is gone.
struct CancelEvent {
  SequenceId id = 0;
};

// Its caller has taken what waited for it, after its sink was full.
struct ReaderCaughtUpEvent {
  SequenceId id = 0;
};

// A stage-worker spoke.
struct StageMessageEvent {
  std::shared_ptr<StageLink> link;
  v1::WorkerMessage message;
};

// Its stream has ended.
struct StageClosedEvent {
  std::shared_ptr<StageLink> link;
  absl::Status why;
};

// Take nothing new; what runs may end within `patience`.
struct DrainEvent {
  absl::Duration patience;
};

using Event = std::variant<SubmitEvent, CancelEvent, ReaderCaughtUpEvent, StageMessageEvent,
                           StageClosedEvent, DrainEvent>;

}  // namespace baton::scheduler
