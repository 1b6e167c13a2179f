// The order of service among those of a queue that are admitted, one after the other.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "services/scheduler/core/request_queue.h"

namespace baton::scheduler {

// Whether what a key has in a class, by its priority, is wanted.
using ClassFilter = std::function<bool(const KeyAccount& key, int32_t priority)>;

// Borrows the queue. While it lives, sequences may be taken from the queue, but none may enter; and
// who is not admitted once is not asked for again. All calls together take time linear in the
// number of keys, of those that ran before and of those that were taken, times its logarithm.
class AdmittedOrder final {
 public:
  AdmittedOrder(const RequestQueue& queue, ClassFilter admitted)
      : queue_(queue), admitted_(std::move(admitted)) {}

  // The one to be served next, of the keys and classes that are admitted; null if none of them has
  // one in the class whose turn it is, nor in the best class: one that had to wait too long does
  // not close it.
  Sequence* Front();
  // Nothing of the class of `priority` is admitted from now on, nor of those that are worse.
  void CloseFrom(int32_t priority) { closed_ = priority; }

 private:
  // How far a class was looked through.
  struct Progress {
    Sequence* last_returned = nullptr;              // up to it, nothing is admitted
    std::optional<RequestQueue::Ranked> last_turn;  // up to it, turns were looked at
    std::set<RequestQueue::Ranked> keys;            // of these, that were admitted
  };

  Sequence* FrontOf(const RequestQueue::Classes::value_type& line);

  const RequestQueue& queue_;
  const ClassFilter admitted_;
  std::optional<int32_t> closed_;
  std::map<int32_t, Progress> progress_;  // by priority
};

}  // namespace baton::scheduler
