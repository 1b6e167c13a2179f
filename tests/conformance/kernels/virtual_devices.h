// A team of devices on one: the exchange of kernels/cuda/plan/peer_exchange.h between the blocks of
// one launch, so that a machine with one GPU can run its protocol.
#pragma once

#include <cstdint>
#include <vector>

namespace baton::kernels::cuda {

// Sums `num_calls` times, one launch a call, what the devices of the current GPU hold: parts[r] is
// rank r's part of the call, [count] each, the same in every call; device d has ranks_of_devices[d]
// ranks. With `captured`, the calls after the second are launches of one captured graph. Returns
// each device's last result, or nothing and what failed.
struct VirtualSums {
  std::vector<std::vector<float>> of_devices;
  const char* error = nullptr;
};
VirtualSums SumOnVirtualDevices(const std::vector<int>& ranks_of_devices,
                                const std::vector<std::vector<float>>& parts, bool two_shots,
                                bool captured, int num_calls);

}  // namespace baton::kernels::cuda
