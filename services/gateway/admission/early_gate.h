// Refuses at the door what the scheduler would refuse: before a request is parsed and encoded,
// which is most of what a refused request costs.
//
// With a refusal the scheduler may say for how long it expects to refuse even the smallest request
// of the same key, and of the same or a worse priority. For so long, but no longer than the bound,
// the gate is closed for them. So a key is refused for what it asked for itself, never for
// another's load, and what the scheduler would have taken meanwhile (others gave up) is refused for
// that time at most.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>

#include "absl/random/random.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

namespace baton::gateway {

// How long the scheduler expects to refuse the key's smallest request; travels with its refusal.
std::optional<absl::Duration> ClosedFor(const absl::Status& status);
absl::Status WithClosedFor(absl::Status status, absl::Duration time);

// On one thread.
class EarlyGate final {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // Closed for `bound` at most after a refusal; zero: never.
  explicit EarlyGate(absl::Duration bound) : bound_(bound) {}

  // OK while open for `caller`; else the refusal to answer with.
  absl::Status Check(const std::string& caller, int32_t priority, Time now);
  // A request of `caller` was refused by the scheduler.
  void Learn(const std::string& caller, int32_t priority, const absl::Status& refusal, Time now);

  // Keys that are remembered: those that it is closed for, and some that it was closed for lately.
  size_t num_keys() const { return closed_.size(); }

 private:
  struct Closed {
    Time until;
    int32_t priority = 0;  // and worse, which are larger
    absl::Status refusal;
  };

  const absl::Duration bound_;
  std::unordered_map<std::string, Closed> closed_;  // by caller; keys come and go with their file
  Time next_sweep_{};
  absl::BitGen random_;
};

}  // namespace baton::gateway
