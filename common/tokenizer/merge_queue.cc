#include "common/tokenizer/merge_queue.h"

namespace baton {

void MergeQueue::Push(const Candidate& candidate) {
  Places& places = places_[candidate.rank];
  if (places.taken == places.ascending.size()) {
    places.ascending.clear();
    places.taken = 0;
  }
  if (places.ascending.empty() || places.ascending.back() <= candidate.place) {
    places.ascending.push_back(candidate.place);
  } else {
    places.others.push(candidate.place);
  }
  if (!places.active) ranks_.push(candidate.rank);
  places.active = true;
}

bool MergeQueue::Pop(Candidate* candidate) {
  while (!ranks_.empty()) {
    const uint32_t rank = ranks_.top();
    Places& places = places_[rank];
    if (places.empty()) {
      places.active = false;
      ranks_.pop();
      continue;
    }
    candidate->rank = rank;
    const bool has_ascending = places.taken < places.ascending.size();
    if (has_ascending &&
        (places.others.empty() || places.ascending[places.taken] <= places.others.top())) {
      candidate->place = places.ascending[places.taken++];
    } else {
      candidate->place = places.others.top();
      places.others.pop();
    }
    return true;
  }
  return false;
}

}  // namespace baton
