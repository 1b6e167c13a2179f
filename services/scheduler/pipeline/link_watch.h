// Notices the link between two stages that loses what is sent over it, though both say that they
// live: what one has sent, the other still waits for.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"

#include "protos/baton/v1/stage.pb.h"
#include "services/scheduler/core/sequence.h"
#include "services/scheduler/pipeline/monotonic_time.h"

namespace baton::scheduler {

// Goes by what heartbeats say of the past, so that a late one, or a late listener, excuses and
// never accuses. Not thread-safe: the step loop owns it.
class LinkWatch final {
 public:
  // Frames that do not arrive for longer than `limit` are lost.
  LinkWatch(uint32_t num_stages, absl::Duration limit) : limit_(limit), stages_(num_stages) {}

  // A new epoch: no step was sent.
  void Reset();
  // `stage_index` has reported `step_id`: all its ranks have sent on what they made.
  void Finished(uint32_t stage_index, StepId step_id, MonotonicTime now);
  // Time that the watcher itself slept through is nobody's fault.
  void Forgive(MonotonicTime now);
  // Takes in a heartbeat of the open epoch. If it shows that a link is cut: words on which, of
  // which `stage_index` is the waiting end. A wait counts from when what it is for was sent; it
  // does not count while the other stage itself is silent, or has not looked at its own end: that
  // stage may lack a processor.
  std::optional<std::string> Heard(uint32_t stage_index, const v1::Heartbeat& heartbeat,
                                   MonotonicTime now);

 private:
  struct FinishedStep {
    StepId id;
    MonotonicTime time;
  };
  struct StageEnd {
    // The newest that was finished longer than the limit ago, and all since.
    std::deque<FinishedStep> finished;
    StepId told = 0;       // finished, as its last heartbeat says
    MonotonicTime looked;  // when its transport had nothing left to do, as that says
  };

  // Who sends what the wait is for; nullopt: nobody does. The last stage sends tokens, which the
  // first one gives leave for.
  std::optional<uint32_t> SenderOf(uint32_t stage_index, v1::AwaitedFrames frames) const;
  // When it was sent; nullopt: it was not yet.
  std::optional<MonotonicTime> SentAt(uint32_t stage_index, uint32_t sender,
                                      const v1::NeighbourWait& wait) const;

  const absl::Duration limit_;
  std::vector<StageEnd> stages_;
};

}  // namespace baton::scheduler
