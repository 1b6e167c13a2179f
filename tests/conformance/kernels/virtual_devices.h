// A team of devices on one: the exchange of kernels/cuda/plan/peer_exchange.h between the blocks of
// one launch, so that a machine with one GPU can run its protocol.
#pragma once

#include <cstdint>
#include <vector>

namespace baton::kernels::cuda {

enum class VirtualCallKind { kSumInOneShot, kSumInTwoShots, kGather };

struct VirtualCall {
  VirtualCallKind kind = VirtualCallKind::kSumInOneShot;
  std::vector<std::vector<float>> parts;  // [rank], all of one size, a multiple of the columns
};

// How calls reach the current GPU, whose blocks stand for all devices of the team.
enum class VirtualLaunch {
  kOneEach,   // a launch per call: no device begins one before all have ended the last
  kCaptured,  // the same launches in a graph, which runs several times
  kTogether,  // one launch: each device goes on to its next call when its own blocks have ended
};

// What each device has after each call; or nothing, and what failed.
struct VirtualResults {
  std::vector<std::vector<std::vector<float>>> of_calls;  // [call of all runs][device]
  const char* error = nullptr;
};

// The calls in order, `num_runs` times; device d has ranks_of_devices[d] ranks, parts are rows of
// `columns`. Where these divide by four, every second device moves four elements at a time.
VirtualResults RunOnVirtualDevices(const std::vector<int>& ranks_of_devices,
                                   const std::vector<VirtualCall>& calls, int64_t columns,
                                   VirtualLaunch launch, int num_runs);

}  // namespace baton::kernels::cuda
