#include "kernels/cuda/expert_tables.h"

#include <utility>

#include "common/log/check.h"
#include "kernels/cuda/cuda_weight.h"

namespace baton::kernels::cuda {
namespace {

bool SameShape(const WeightImage& a, const WeightImage& b) {
  return a.n == b.n && a.k == b.k && a.type == b.type && a.value_pitch == b.value_pitch &&
         a.block == b.block && a.row_offset == b.row_offset && a.column_offset == b.column_offset &&
         a.scale_pitch == b.scale_pitch;
}

}  // namespace

const GatedImage* ExpertTables::Find(std::span<const FeedForwardWeights> weights, PinnedRing& ring,
                                     cudaStream_t stream) {
  std::vector<uint64_t> ids;
  ids.reserve(weights.size());
  for (const FeedForwardWeights& expert : weights) ids.push_back(Unpack(expert.gate).id());
  Table& table = tables_[ids.front()];
  if (table.ids == ids) return static_cast<const GatedImage*>(table.memory->data());

  std::vector<GatedImage> images;
  for (const FeedForwardWeights& expert : weights) {
    images.push_back(
        {Unpack(expert.gate).image(), Unpack(expert.up).image(), Unpack(expert.down).image()});
    BATON_CHECK(SameShape(images.back().gate, images.front().gate) &&
                SameShape(images.back().up, images.front().up) &&
                SameShape(images.back().down, images.front().down))
        << "experts of different shapes";
  }
  const size_t bytes = images.size() * sizeof(GatedImage);
  absl::StatusOr<std::unique_ptr<CudaBuffer>> memory = CudaBuffer::Create(bytes, stream);
  BATON_CHECK_OK(memory.status());
  ring.CopyToDevice((*memory)->data(), images.data(), bytes);
  table = {std::move(ids), *std::move(memory)};
  return static_cast<const GatedImage*>(table.memory->data());
}

}  // namespace baton::kernels::cuda
