// Where work of live requests runs: one thread that owns all of their state.
#pragma once

#include <functional>

#include "absl/time/time.h"

namespace baton::gateway {

class Executor {
 public:
  virtual ~Executor() = default;
  // Runs `work` later on the executor's thread, in order of posting. Any thread.
  virtual void Post(std::function<void()> work) = 0;
  // As Post, after `delay`. Dropped when the executor stops first.
  virtual void PostAfter(absl::Duration delay, std::function<void()> work) = 0;
};

}  // namespace baton::gateway
