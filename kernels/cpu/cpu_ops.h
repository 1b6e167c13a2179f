// One device of the CPU backend. Each operation stands in the file of its header: linear.cc, ...
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/api/ops.h"
#include "kernels/cpu/device_context.h"
#include "kernels/cpu/gated_experts.h"
#include "kernels/cpu/prompt_attention.h"
#include "kernels/cpu/token_sampler.h"
#include "kernels/host/host_memory.h"

namespace baton::kernels::cpu {

class CpuOps final : public Ops {
 public:
  // `kernels` must outlive the device.
  CpuOps(const VariantKernels& kernels, int num_threads);

  absl::StatusOr<std::unique_ptr<DeviceBuffer>> Allocate(size_t bytes) override;
  void CopyToDevice(void* device, const void* host, size_t bytes) override;
  void CopyToHost(void* host, const void* device, size_t bytes) override;
  std::unique_ptr<PackedWeight> Pack(const WeightMatrix& weight, DataType compute_type) override;
  int64_t band_rows() const override { return kPanelColumns; }
  void PackBand(const WeightBand& band, DataType compute_type,
                std::unique_ptr<PackedWeight>& weight) override;
  std::string packing() const override;
  WeightImage Export(const PackedWeight& weight) const override;
  absl::StatusOr<std::unique_ptr<PackedWeight>> Adopt(
      const WeightImage& image, std::shared_ptr<const void> owner) const override;
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
  void Synchronize() override {}
  bool shares_host_memory() const override { return true; }
  DeviceMemory memory() const override { return ReadHostMemory(); }
  uint64_t working_bytes() const override;
  // Operations take their working memory alone.
  void MakeRoom(absl::FunctionRef<void()> work) override;
  bool keeps_graphs() const override { return false; }
  absl::Status MakeGraph(uint64_t, absl::FunctionRef<void()>) override { return absl::OkStatus(); }
  void RunGraph(uint64_t, absl::FunctionRef<void()> work) override { work(); }
  void ForgetGraphs() override {}

 private:
  // Heads [head, head + num_heads) of rows [row, row + num_rows), all of one sequence.
  struct AttendTask {
    int64_t row = 0;
    int64_t num_rows = 0;
    int64_t head = 0;
    int64_t num_heads = 0;
  };

  void CutAttention(const MlaAttentionArgs& args);
  void MakeRoomForDraws(int64_t vocabulary);

  DeviceContext device_;
  GatedExperts experts_;
  PromptAttention prompts_;
  std::vector<TokenSampler> samplers_;  // one per thread
  std::vector<AttendTask> attend_tasks_;
};

}  // namespace baton::kernels::cpu
