// A backend like a GPU's on the host: devices whose memory is their own, of a given size.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/api/ops.h"

namespace baton::fakes {

// What devices that keep graphs did. Atomic: of all devices together.
struct GraphCounts {
  std::atomic<int> made = 0;
  std::atomic<int> run = 0;
};

struct SeparateDeviceOptions {
  uint64_t total_bytes = uint64_t{1} << 40;
  uint64_t others_bytes = 0;  // of it, that somebody else holds
  // Devices keep graphs, as a GPU does: MakeGraph writes down what is called, and from then on that
  // runs, with the arguments of then. It ends the process if that is a copy or a draw, RunGraph if
  // memory that the graph names is gone, the end of collectives if graphs of their device stand.
  // Null: they keep none. Must outlive the devices.
  GraphCounts* graphs = nullptr;
  // How many graphs each device has room for; of those behind the list's end any number.
  std::vector<int> most_graphs;
};

// Devices compute as `inner`'s, which must be on the host and outlive what is made. They end the
// process if an operation, or the device's end of a copy, names memory that they did not allocate,
// or the host's end memory that they did. Allocate refuses what is not free.
std::unique_ptr<kernels::Backend> SeparateDevices(kernels::Backend* inner,
                                                  const SeparateDeviceOptions& options);

}  // namespace baton::fakes
