// Captured graphs of steps: what a device's stream would be given runs at one launch.
#pragma once

#include <cstdint>
#include <cuda_runtime_api.h>
#include <map>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace baton::kernels::cuda {

// Threads: the device's.
class StepGraphs final {
 public:
  explicit StepGraphs(cudaStream_t stream) : stream_(stream) {}
  ~StepGraphs() { Forget(); }
  StepGraphs(const StepGraphs&) = delete;
  StepGraphs& operator=(const StepGraphs&) = delete;

  // Captures what `work` gives the stream, none of which runs. ResourceExhausted if the device has
  // no memory for the graph: nothing is left of it, and the stream goes on. Ends the process if
  // the work cannot be captured, and if the key has a graph.
  absl::Status Make(uint64_t key, absl::FunctionRef<void()> work);
  // False if the key has no graph.
  bool Run(uint64_t key);
  // Waits until none runs, and drops all.
  void Forget();

 private:
  const cudaStream_t stream_;
  std::map<uint64_t, cudaGraphExec_t> graphs_;
};

}  // namespace baton::kernels::cuda
