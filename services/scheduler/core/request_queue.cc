#include "services/scheduler/core/request_queue.h"

#include <algorithm>

#include "common/log/check.h"

namespace baton::scheduler {

void RequestQueue::Push(Sequence* sequence) {
  sequence->set_state(Sequence::State::kWaiting);
  BATON_CHECK(waiting_.insert(sequence).second) << "sequence " << sequence->id() << " waits twice";
}

Sequence* RequestQueue::FindFirst(const std::function<bool(const Sequence*)>& matches) const {
  const auto found = std::find_if(waiting_.begin(), waiting_.end(), matches);
  return found == waiting_.end() ? nullptr : *found;
}

void RequestQueue::Remove(Sequence* sequence) {
  BATON_CHECK(waiting_.erase(sequence) == 1) << "sequence " << sequence->id() << " does not wait";
}

}  // namespace baton::scheduler
