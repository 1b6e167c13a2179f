// The reference's device. Each operation stands in the file of its header: linear.cc, norm.cc, ...
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/api/ops.h"
#include "kernels/host/host_memory.h"

namespace baton::kernels {

// A weight widened to float32, with the scale blocks cut along k.
class ReferenceWeight final : public PackedWeight {
 public:
  ReferenceWeight(const WeightMatrix& weight, DataType compute_type);
  // Without scales; SetRows brings the values.
  ReferenceWeight(int64_t n, int64_t k);

  // Over an image's bytes. InvalidArgument: see Ops::Adopt.
  static absl::StatusOr<std::unique_ptr<PackedWeight>> Adopt(const WeightImage& image,
                                                             std::shared_ptr<const void> owner);
  WeightImage image() const;

  void SetRows(int64_t first_row, const TensorView& values, DataType compute_type);

  size_t bytes() const override;

  // Product of one row of x with the transpose: out[i] = sum_j x[j] * W(i, j).
  std::vector<float> Product(const std::vector<float>& x) const;

 private:
  struct Adopted {};
  ReferenceWeight(Adopted, int64_t n, int64_t k) : PackedWeight(n, k) {}
  void CutBlocks(int64_t block, int64_t column_offset);

  int64_t block_ = 0;
  int64_t column_offset_ = 0;
  std::vector<int64_t> block_ends_;  // along k
  std::vector<float> own_values_;
  std::vector<float> own_scales_;
  std::shared_ptr<const void> owner_;  // of adopted bytes
  std::span<const float> values_;      // [n, k]
  std::span<const float> scales_;      // [n, blocks]
};

class ReferenceOps final : public Ops {
 public:
  absl::StatusOr<std::unique_ptr<DeviceBuffer>> Allocate(size_t bytes) override;
  void CopyToDevice(void* device, const void* host, size_t bytes) override;
  void CopyToHost(void* host, const void* device, size_t bytes) override;
  std::unique_ptr<PackedWeight> Pack(const WeightMatrix& weight, DataType compute_type) override;
  int64_t band_rows() const override { return 1; }
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
  uint64_t working_bytes() const override { return 0; }
  void MakeRoom(absl::FunctionRef<void()>) override {}
  bool keeps_graphs() const override { return false; }
  absl::Status MakeGraph(uint64_t, absl::FunctionRef<void()>) override { return absl::OkStatus(); }
  void RunGraph(uint64_t, absl::FunctionRef<void()> work) override { work(); }
  void ForgetGraphs() override {}
};

}  // namespace baton::kernels
