// Captured graphs of steps: what a device's stream was given once runs again at one launch.
#pragma once

#include <cstdint>
#include <cuda_runtime_api.h>
#include <map>

#include "absl/functional/function_ref.h"

#include "kernels/cuda/device_memory.h"

namespace baton::kernels::cuda {

// A key's first run calls `work` as it is, which loads its kernels, makes its tables and grows the
// scratch; the second captures and launches; later ones launch. A graph whose scratch has moved
// since is dropped and made anew in the same two runs. Threads: the device's.
class StepGraphs final {
 public:
  explicit StepGraphs(cudaStream_t stream) : stream_(stream) {}
  ~StepGraphs() { Forget(); }
  StepGraphs(const StepGraphs&) = delete;
  StepGraphs& operator=(const StepGraphs&) = delete;

  // Ends the process if the device refuses to capture or to launch.
  void Run(uint64_t key, const DeviceScratch& scratch, absl::FunctionRef<void()> work);
  // Waits until none runs, and drops all.
  void Forget();

 private:
  struct Graph {
    cudaGraphExec_t executable = nullptr;  // null: the key has run once
    uint64_t num_moves = 0;                // of the scratch when it ran
  };

  cudaGraphExec_t Capture(absl::FunctionRef<void()> work);

  const cudaStream_t stream_;
  std::map<uint64_t, Graph> graphs_;
};

}  // namespace baton::kernels::cuda
