// The command line of baton-stage-worker, checked.
#pragma once

#include <string>

#include "absl/status/statusor.h"

#include "common/pod_place/pod_place.h"
#include "common/rpc/server_runtime.h"
#include "services/stage_worker/membership/stage_options.h"

namespace baton::stage {

struct StageConfig {
  ServerOptions server;
  StageOptions stage;  // status_address is left to the server, which knows its port
  PodPlace place;
  int num_threads_per_device = 1;
  bool through_nccl = false;    // sums over GPUs
  bool through_cublas = false;  // products of many rows on GPUs
  bool enforce_eager = false;   // no graphs on GPUs
  std::string cpu_variant;      // empty: the best that the machine has
};

// From the flags that ParseCommandLine has read, and what Kubernetes says of the pod. Errors:
// InvalidArgument naming flag or variable, and value.
absl::StatusOr<StageConfig> ReadStageConfig();

// How many devices `num_ranks` ranks are spread over where nobody says: one each if the machine has
// a core for each, else one for all.
int DefaultDevices(int num_ranks, int num_cores);

}  // namespace baton::stage
