// When the requests of an open-loop run are sent.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

namespace baton::bench {

enum class RampUp { kNone, kLinear, kExponential };

struct ArrivalOptions {
  // Requests a second; infinite: all at once.
  double request_rate = std::numeric_limits<double>::infinity();
  // Shape of the gamma distribution of the gaps: 1 is a Poisson process, less is burstier,
  // infinite is evenly spaced.
  double burstiness = 1;
  // With a ramp the rate goes from `start_rps` to `end_rps` over the requests, instead.
  RampUp ramp_up = RampUp::kNone;
  double start_rps = 0;
  double end_rps = 0;
};

// Seconds from the start of the run at which each request is sent, ascending. Without a ramp the
// last one is at num_requests / request_rate whatever was drawn, so that the rate is kept exactly.
std::vector<double> ArrivalTimes(const ArrivalOptions& options, int64_t num_requests,
                                 uint64_t seed);

}  // namespace baton::bench
