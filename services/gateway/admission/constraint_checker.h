// Which constraints of answers' texts can be honoured.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"

#include "common/structured_output/constraint.h"

namespace baton::gateway {

// Compiles a constraint to see whether it can be, and remembers what it saw of the latest: clients
// send the same one with each request. Any thread.
class ConstraintChecker final {
 public:
  static constexpr size_t kDefaultCapacityBytes = 1 << 20;

  // `token_ids`: those that a grammar may name, ascending. `capacity_bytes`: of what is remembered.
  explicit ConstraintChecker(std::vector<uint32_t> token_ids,
                             size_t capacity_bytes = kDefaultCapacityBytes)
      : token_ids_(std::move(token_ids)), capacity_bytes_(capacity_bytes) {}

  // May take 200 ms, unless it is remembered, or what `limits` leave of that. `cost`, if given, is
  // set to what compiling took, also where it is refused. Errors: InvalidArgument naming `field`
  // and why the constraint is refused.
  absl::Status Check(absl::string_view field, const structured::Constraint& constraint,
                     const structured::CompileLimits& limits = {},
                     structured::CompileCost* cost = nullptr) ABSL_LOCKS_EXCLUDED(mutex_);

  // How many had to be compiled so far.
  size_t num_compiled() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Outcome {
    std::string refusal;  // why it is refused; empty: it is not
    structured::CompileCost cost;
  };

  Outcome Compile(const structured::Constraint& constraint,
                  const structured::CompileLimits& limits) const;
  void Remember(std::string digest, Outcome outcome) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::vector<uint32_t> token_ids_;
  const size_t capacity_bytes_;
  mutable absl::Mutex mutex_;
  size_t num_compiled_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t num_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::flat_hash_map<std::string, Outcome> outcomes_ ABSL_GUARDED_BY(mutex_);  // by digest
  std::deque<std::string> digests_ ABSL_GUARDED_BY(mutex_);                     // oldest first
};

}  // namespace baton::gateway
