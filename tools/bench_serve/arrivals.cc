#include "tools/bench_serve/arrivals.h"

#include <algorithm>
#include <cmath>
#include <random>

namespace baton::bench {
namespace {

double RateAt(const ArrivalOptions& options, int64_t index, int64_t num_requests) {
  if (options.ramp_up == RampUp::kNone) return options.request_rate;
  const double progress =
      static_cast<double>(index) / static_cast<double>(std::max<int64_t>(num_requests - 1, 1));
  if (options.ramp_up == RampUp::kLinear) {
    return options.start_rps + (options.end_rps - options.start_rps) * progress;
  }
  return options.start_rps * std::pow(options.end_rps / options.start_rps, progress);
}

}  // namespace

std::vector<double> ArrivalTimes(const ArrivalOptions& options, int64_t num_requests,
                                 uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<double> times;
  double now = 0;
  for (int64_t i = 0; i < num_requests; ++i) {
    const double rate = RateAt(options, i, num_requests);
    if (std::isinf(rate)) {
      times.push_back(0);
      continue;
    }
    if (std::isinf(options.burstiness)) {
      now += 1 / rate;
    } else {
      // Mean of a gamma distribution: shape x scale = 1 / rate.
      now += std::gamma_distribution<double>(options.burstiness,
                                             1 / (rate * options.burstiness))(random);
    }
    times.push_back(now);
  }
  if (options.ramp_up != RampUp::kNone || now == 0) return times;
  const double correction = static_cast<double>(num_requests) / options.request_rate / now;
  for (double& time : times) time *= correction;
  return times;
}

}  // namespace baton::bench
