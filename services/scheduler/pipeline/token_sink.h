// Where the tokens of one sequence go: the step loop's side of a Submit stream.
#pragma once

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "protos/baton/v1/scheduling.pb.h"
#include "services/scheduler/pipeline/monotonic_time.h"

namespace baton::scheduler {

// What became of a response that a sink was given.
enum class PushResult {
  kTaken,
  kFull,  // taken, but the reader is behind by the sink's bound or more: when it has caught up, the
          // step loop gets a ReaderCaughtUpEvent; until then only what is in flight should come
  kGone,  // dropped, for there is no reader any more; Finish is due
};

// Called by the step loop only. Neither call blocks.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  // Hands over what is new; the sink sets `sequence_number`.
  virtual PushResult Push(v1::SubmitResponse response) = 0;
  // When the reader last took a message, or was offered one having taken all before it.
  virtual MonotonicTime last_taken() const = 0;
  // Ends the stream after what was pushed. `retry_after`, if positive, tells the caller when to try
  // again. Call once.
  virtual void Finish(const absl::Status& status, absl::Duration retry_after) = 0;
};

}  // namespace baton::scheduler
