#include "kernels/cpu/cpu_ops.h"

#include <cstring>
#include <utility>

#include "kernels/cpu/panel_weight.h"
#include "kernels/cpu/product.h"
#include "kernels/host/host_buffer.h"

namespace baton::kernels::cpu {

CpuOps::CpuOps(const VariantKernels& kernels, int num_threads)
    : device_(kernels, num_threads), experts_(device_), prompts_(device_) {
  for (int thread = 0; thread < num_threads; ++thread) samplers_.emplace_back(kernels);
}

absl::StatusOr<std::unique_ptr<DeviceBuffer>> CpuOps::Allocate(size_t bytes) {
  return HostBuffer::Create(bytes);
}

void CpuOps::CopyToDevice(void* device, const void* host, size_t bytes) {
  if (bytes != 0) std::memcpy(device, host, bytes);
}

void CpuOps::CopyToHost(void* host, const void* device, size_t bytes) {
  if (bytes != 0) std::memcpy(host, device, bytes);
}

std::unique_ptr<PackedWeight> CpuOps::Pack(const WeightMatrix& weight, DataType compute_type) {
  return std::make_unique<PanelWeight>(weight, compute_type, device_.kernels, device_.pool,
                                       device_.weights);
}

void CpuOps::PackBand(const WeightBand& band, DataType compute_type,
                      std::unique_ptr<PackedWeight>& weight) {
  if (weight == nullptr) {
    weight = std::make_unique<PanelWeight>(band, compute_type, device_.kernels, device_.weights);
  }
  static_cast<PanelWeight*>(weight.get())->PackBand(band, device_.pool, device_.weights);
}

std::string CpuOps::packing() const { return PackingOf(device_.kernels); }

WeightImage CpuOps::Export(const PackedWeight& weight) const { return Unpack(&weight).image(); }

absl::StatusOr<std::unique_ptr<PackedWeight>> CpuOps::Adopt(
    const WeightImage& image, std::shared_ptr<const void> owner) const {
  return PanelWeight::Adopt(image, device_.kernels, std::move(owner));
}

uint64_t CpuOps::working_bytes() const {
  uint64_t bytes = device_.working_bytes() + prompts_.working_bytes();
  for (const TokenSampler& sampler : samplers_) bytes += sampler.working_bytes();
  return bytes;
}

void CpuOps::MakeRoom(absl::FunctionRef<void()> work) {
  device_.only_makes_room = true;
  work();
  device_.only_makes_room = false;
  device_.scratch.Reset();
  prompts_.Reset();
}

void CpuOps::MlaPromptAttention(const MlaPromptAttentionArgs& args) { prompts_.Attend(args); }

void CpuOps::FeedForward(const FeedForwardArgs& args) { experts_.FeedForward(args); }

void CpuOps::Experts(const ExpertsArgs& args) { experts_.Experts(args); }

}  // namespace baton::kernels::cpu
