// How much of the time just past somebody had.
#pragma once

#include <cmath>

#include "services/scheduler/core/core_time.h"

namespace baton::scheduler {

// A sum of seconds that are forgotten, each by half after 0.7 s: what was used of about the last
// second.
class RecentUse final {
 public:
  // `now` never goes back.
  void Add(double seconds, TimeUs now) {
    seconds_ = At(now) + seconds;
    at_ = now;
  }
  double At(TimeUs now) const {
    return seconds_ * std::exp(-static_cast<double>(now - at_) / kMemory);
  }

 private:
  static constexpr double kMemory = 1e6;  // microseconds

  double seconds_ = 0;
  TimeUs at_ = 0;
};

}  // namespace baton::scheduler
