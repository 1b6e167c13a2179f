#include "kernels/cuda/step_graphs.h"

#include "common/log/check.h"
#include "kernels/cuda/cuda_stream.h"

namespace baton::kernels::cuda {

void StepGraphs::Make(uint64_t key, absl::FunctionRef<void()> work) {
  BATON_CHECK(!graphs_.contains(key)) << "the graph stands";
  // Other threads may allocate meanwhile.
  CheckCuda(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "capturing a graph");
  work();
  cudaGraph_t graph = nullptr;
  CheckCuda(cudaStreamEndCapture(stream_, &graph), "capturing a graph");
  cudaGraphExec_t executable = nullptr;
  CheckCuda(cudaGraphInstantiate(&executable, graph, 0),
            "making a graph, in what --gpu-memory-utilization leaves to the driver");
  CheckCuda(cudaGraphDestroy(graph), "making a graph");
  CheckCuda(cudaGraphUpload(executable, stream_), "making a graph");
  graphs_[key] = executable;
}

bool StepGraphs::Run(uint64_t key) {
  const auto found = graphs_.find(key);
  if (found == graphs_.end()) return false;
  CheckCuda(cudaGraphLaunch(found->second, stream_), "launching a graph");
  return true;
}

void StepGraphs::Forget() {
  if (graphs_.empty()) return;
  CheckCuda(cudaStreamSynchronize(stream_), "waiting for graphs");
  for (const auto& [key, executable] : graphs_) {
    CheckCuda(cudaGraphExecDestroy(executable), "dropping a graph");
  }
  graphs_.clear();
}

}  // namespace baton::kernels::cuda
