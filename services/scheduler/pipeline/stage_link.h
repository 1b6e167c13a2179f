// The step loop's side of one stage-worker's Attach stream.
#pragma once

#include "absl/status/status.h"

#include "protos/baton/v1/stage.pb.h"

namespace baton::scheduler {

// Called by the step loop only. No call blocks.
class StageLink {
 public:
  virtual ~StageLink() = default;
  // Queues `message`; the link sets `sequence_number`. False: the link is closed, or the worker
  // takes messages so slowly that the bound is reached.
  virtual bool Send(v1::SchedulerMessage message) = 0;
  // Ends the stream with `status` after what was sent. No effect if it has ended.
  virtual void Close(const absl::Status& status) = 0;
  // Cuts the stream at once: the worker may be frozen and take nothing any more.
  virtual void Cut(const absl::Status& status) = 0;
};

}  // namespace baton::scheduler
