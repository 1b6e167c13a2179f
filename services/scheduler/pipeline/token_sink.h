// Where the tokens of one sequence go: the step loop's side of a Submit stream.
#pragma once

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "protos/baton/v1/scheduling.pb.h"

namespace baton::scheduler {

// Called by the step loop only. Neither call blocks.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  // Hands over what is new; the sink sets `sequence_number`. False: the reader is gone, or so slow
  // that the sink's bound is reached; `response` is dropped and Finish is due.
  virtual bool Push(v1::SubmitResponse response) = 0;
  // Ends the stream after what was pushed. `retry_after`, if positive, tells the caller when to try
  // again. Call once.
  virtual void Finish(const absl::Status& status, absl::Duration retry_after) = 0;
};

}  // namespace baton::scheduler
