// The operations of one CUDA device: one stream, in the order called.
#pragma once

#include <cuda_runtime_api.h>
#include <memory>

#include "kernels/api/ops.h"
#include "kernels/cuda/cublas_library.h"
#include "kernels/cuda/cublas_linear.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/device_probe.h"
#include "kernels/cuda/launches/cuda_stream.h"
#include "kernels/cuda/launches/device_memory.h"
#include "kernels/cuda/step_graphs.h"
#include "kernels/cuda/weight_tables.h"

namespace baton::kernels::cuda {

// Spans and views of arguments name memory of this device, but for those of Sample and ScoreTokens,
// whose lists and results are the host's. Products, experts and latent attention run on Hopper's
// instructions where their shapes allow, everything else on kernels that take any shape.
class CudaOps final : public Ops {
 public:
  // Errors: FailedPrecondition (no such device, or none that the kernels were compiled for),
  // ResourceExhausted.
  // `cublas`: null unless products of many rows go through it; need not outlive the call.
  static absl::StatusOr<std::unique_ptr<CudaOps>> Create(int device, const CudaOptions& options,
                                                         const CublasLibrary* cublas);
  ~CudaOps() override;

  cudaStream_t stream() const { return stream_; }

  absl::StatusOr<std::unique_ptr<DeviceBuffer>> Allocate(size_t bytes) override;
  void CopyToDevice(void* device, const void* host, size_t bytes) override;
  void CopyToHost(void* host, const void* device, size_t bytes) override;
  std::unique_ptr<PackedWeight> Pack(const WeightMatrix& weight, DataType compute_type) override;
  int64_t band_rows() const override { return 0; }
  void PackBand(const WeightBand& band, DataType compute_type,
                std::unique_ptr<PackedWeight>& weight) override;
  // Weights lie in the device's memory, which no file can be.
  std::string packing() const override { return ""; }
  kernels::WeightImage Export(const PackedWeight& weight) const override;
  absl::StatusOr<std::unique_ptr<PackedWeight>> Adopt(
      const kernels::WeightImage& image, std::shared_ptr<const void> owner) const override;
  void Linear(const LinearArgs& args) override;
  void HeadwiseLinear(const HeadwiseLinearArgs& args) override;
  void RmsNorm(const RmsNormArgs& args) override;
  void AddRmsNorm(const AddRmsNormArgs& args) override;
  void Add(const AddArgs& args) override;
  void Embed(const EmbedArgs& args) override;
  void Rope(const RopeArgs& args) override;
  void KvWrite(const KvWriteArgs& args) override;
  void MlaAttention(const MlaAttentionArgs& args) override;
  void MlaPromptAttention(const MlaPromptAttentionArgs& args) override;
  void SelectExperts(const SelectExpertsArgs& args) override;
  void FeedForward(const FeedForwardArgs& args) override;
  void Experts(const ExpertsArgs& args) override;
  void Sample(const SampleArgs& args) override;
  void ScoreTokens(const ScoreTokensArgs& args) override;
  void Synchronize() override;
  bool shares_host_memory() const override { return false; }
  DeviceMemory memory() const override;
  uint64_t working_bytes() const override;
  void MakeRoom(absl::FunctionRef<void()> work) override { work(); }
  bool keeps_graphs() const override { return keeps_graphs_; }
  absl::Status MakeGraph(uint64_t key, absl::FunctionRef<void()> work) override;
  void RunGraph(uint64_t key, absl::FunctionRef<void()> work) override;
  void ForgetGraphs() override;

 private:
  CudaOps(int device, const DeviceTraits& traits, const CudaOptions& options,
          std::unique_ptr<DeviceStream> stream);
  // The caller's thread may have served another device.
  void UseDevice() const;

  const std::unique_ptr<DeviceStream> own_stream_;  // first: memory goes before it
  const int device_;
  const int num_multiprocessors_;
  const bool plain_;
  const bool keeps_graphs_;
  const cudaStream_t stream_;
  std::unique_ptr<PinnedRing> ring_;
  DeviceArena weights_;
  DeviceScratch scratch_;
  WeightTables tables_;
  StepGraphs graphs_;
  std::unique_ptr<CublasLinear> cublas_;  // null: no product goes through it
};

}  // namespace baton::kernels::cuda
