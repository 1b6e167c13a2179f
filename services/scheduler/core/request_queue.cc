#include "services/scheduler/core/request_queue.h"

#include "common/log/check.h"

namespace baton::scheduler {

void RequestQueue::Push(Sequence* sequence) {
  sequence->set_state(Sequence::State::kWaiting);
  BATON_CHECK(waiting_.insert(sequence).second) << "sequence " << sequence->id() << " waits twice";
}

void RequestQueue::Remove(Sequence* sequence) {
  BATON_CHECK(waiting_.erase(sequence) == 1) << "sequence " << sequence->id() << " does not wait";
}

}  // namespace baton::scheduler
