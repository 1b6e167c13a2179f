// A backend whose operations are timed, by kind and weight.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>

#include "kernels/api/ops.h"

namespace baton::bench {

struct OpTime {
  double seconds = 0;
  double processor_seconds = 0;  // of all threads, spinning ones too
  int64_t calls = 0;
  double bytes = 0;  // of weights and cache that the calls had to read
  double flops = 0;
};
using OpTimes = std::map<std::string, OpTime>;

// Devices of its teams add to `times`; one device only. Both must outlive what is created.
std::unique_ptr<kernels::Backend> TimeOps(kernels::Backend* backend, OpTimes* times);

}  // namespace baton::bench
