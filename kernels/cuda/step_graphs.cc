#include "kernels/cuda/step_graphs.h"

#include "common/log/check.h"
#include "kernels/cuda/launches/cuda_stream.h"

namespace baton::kernels::cuda {

absl::Status StepGraphs::Make(uint64_t key, absl::FunctionRef<void()> work) {
  BATON_CHECK(!graphs_.contains(key)) << "the graph stands";
  // Other threads may allocate meanwhile.
  CheckCuda(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "capturing a graph");
  work();
  cudaGraph_t graph = nullptr;
  CheckCuda(cudaStreamEndCapture(stream_, &graph), "capturing a graph");
  cudaGraphExec_t executable = nullptr;
  cudaError_t made = cudaGraphInstantiate(&executable, graph, 0);
  CheckCuda(cudaGraphDestroy(graph), "making a graph");
  if (made == cudaSuccess) made = cudaGraphUpload(executable, stream_);
  if (made == cudaSuccess) {
    graphs_[key] = executable;
    return absl::OkStatus();
  }
  absl::Status refusal = ToStatus(made, "making a graph");
  BATON_CHECK(absl::IsResourceExhausted(refusal)) << refusal.message();
  if (executable != nullptr) CheckCuda(cudaGraphExecDestroy(executable), "dropping a graph");
  // The runtime remembers an error until it is asked for it; the next launch would find this one.
  cudaGetLastError();
  return refusal;
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
