#include "kernels/cuda/step_graphs.h"

#include "common/log/check.h"
#include "kernels/cuda/cuda_stream.h"

namespace baton::kernels::cuda {

void StepGraphs::Run(uint64_t key, const DeviceScratch& scratch, absl::FunctionRef<void()> work) {
  const auto found = graphs_.find(key);
  if (found == graphs_.end() || found->second.num_moves != scratch.num_moves()) {
    if (found != graphs_.end() && found->second.executable != nullptr) {
      // Its memory is gone, so it does not run any more.
      CheckCuda(cudaGraphExecDestroy(found->second.executable), "dropping a graph");
    }
    work();
    graphs_[key] = {nullptr, scratch.num_moves()};
    return;
  }
  Graph& graph = found->second;
  if (graph.executable == nullptr) {
    graph.executable = Capture(work);
    BATON_CHECK(graph.num_moves == scratch.num_moves()) << "the scratch grew while it was captured";
  }
  CheckCuda(cudaGraphLaunch(graph.executable, stream_), "launching a graph");
}

cudaGraphExec_t StepGraphs::Capture(absl::FunctionRef<void()> work) {
  // Other threads serve other devices and may allocate meanwhile.
  CheckCuda(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "capturing a graph");
  work();
  cudaGraph_t graph = nullptr;
  CheckCuda(cudaStreamEndCapture(stream_, &graph), "capturing a graph");
  cudaGraphExec_t executable = nullptr;
  CheckCuda(cudaGraphInstantiate(&executable, graph, 0), "making a graph");
  CheckCuda(cudaGraphDestroy(graph), "making a graph");
  CheckCuda(cudaGraphUpload(executable, stream_), "making a graph");
  return executable;
}

void StepGraphs::Forget() {
  if (graphs_.empty()) return;
  CheckCuda(cudaStreamSynchronize(stream_), "waiting for graphs");
  for (auto& [key, graph] : graphs_) {
    if (graph.executable != nullptr) {
      CheckCuda(cudaGraphExecDestroy(graph.executable), "dropping a graph");
    }
  }
  graphs_.clear();
}

}  // namespace baton::kernels::cuda
