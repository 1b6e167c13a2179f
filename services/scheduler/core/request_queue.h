// Sequences that wait to run, in the order in which they are served.
#pragma once

#include <cstddef>
#include <functional>
#include <set>

#include "services/scheduler/core/sequence.h"

namespace baton::scheduler {

// Holds borrowed sequences, which must outlive their stay. The bound is for newcomers: a sequence
// that ran before always finds a place again.
class RequestQueue final {
 public:
  explicit RequestQueue(size_t capacity) : capacity_(capacity) {}

  // No room for a newcomer.
  bool full() const { return waiting_.size() >= capacity_; }
  size_t size() const { return waiting_.size(); }
  bool empty() const { return waiting_.empty(); }

  // Puts `sequence` where its priority and arrival say; one that comes back stands before all that
  // arrived later.
  void Push(Sequence* sequence);
  // The one to be served next; null if none waits.
  Sequence* Front() const { return waiting_.empty() ? nullptr : *waiting_.begin(); }
  // The first, in the order of service, that `matches`; null if none does.
  Sequence* FindFirst(const std::function<bool(const Sequence*)>& matches) const;
  // Takes out one that is in the queue.
  void Remove(Sequence* sequence);

 private:
  const size_t capacity_;
  std::set<Sequence*, ServedBefore> waiting_;
};

}  // namespace baton::scheduler
