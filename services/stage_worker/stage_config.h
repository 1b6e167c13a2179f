// The command line of baton-stage-worker, checked.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "common/pod_place/pod_place.h"
#include "common/rpc/server_runtime.h"
#include "kernels/api/ops.h"
#include "services/stage_worker/membership/stage_options.h"

namespace baton::stage {

struct StageConfig {
  ServerOptions server;
  StageOptions stage;  // status_address is left to the server, which knows its port
  PodPlace place;
  int num_threads_per_device = 1;
  bool through_nccl = false;              // sums over GPUs
  bool through_cublas = false;            // products of many rows on GPUs
  bool enforce_eager = false;             // no graphs on GPUs
  std::string prompt_attention = "auto";  // or "expanded", "absorbed"; see ExpandsPrompts
  std::string cpu_variant;                // empty: the best that the machine has
};

// From the flags that ParseCommandLine has read, and what Kubernetes says of the pod. Errors:
// InvalidArgument naming flag or variable, and value.
absl::StatusOr<StageConfig> ReadStageConfig();

// Whether the stage attends to prompts in the expanded form. InvalidArgument where that is asked of
// a backend that does not have it.
absl::StatusOr<bool> ExpandsPrompts(absl::string_view prompt_attention,
                                    const kernels::Backend& backend);

// How many devices `num_ranks` ranks are spread over where nobody says: one each if the machine has
// a core for each, else one for all.
int DefaultDevices(int num_ranks, int num_cores);

}  // namespace baton::stage
