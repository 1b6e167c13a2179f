// Requests to simulate: synthetic by a seed, or a trace of real ones.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace baton::simulate {

struct SimulatedRequest {
  double arrival = 0;  // seconds from the start
  uint32_t input_tokens = 1;
  uint32_t output_tokens = 1;

  bool operator==(const SimulatedRequest&) const = default;
};

enum class LengthSpread {
  kFixed,
  kUniform,      // from half of the mean to one and a half times it
  kExponential,  // many short, few long
};

struct WorkloadOptions {
  uint32_t num_requests = 1000;
  double request_rate = 0;       // per second, Poisson; 0: all at once
  uint32_t input_tokens = 1024;  // mean
  uint32_t output_tokens = 256;  // mean
  LengthSpread input_spread = LengthSpread::kFixed;
  LengthSpread output_spread = LengthSpread::kFixed;
  uint32_t max_tokens = 0;  // input and output together are cut to this; 0: not
  uint64_t seed = 1;
};

// In order of arrival; the same for the same options on every machine.
std::vector<SimulatedRequest> MakeWorkload(const WorkloadOptions& options);

// One JSON object a line: "timestamp" (milliseconds), "input_length", "output_length"; other keys
// are ignored. Sorted by arrival. Errors: InvalidArgument naming the line.
absl::StatusOr<std::vector<SimulatedRequest>> ParseTrace(const std::string& text);

}  // namespace baton::simulate
