#include "kernels/cuda/weight_tables.h"

#include <utility>

#include "common/log/check.h"
#include "kernels/cuda/cuda_weight.h"
#include "kernels/cuda/launches/cuda_stream.h"
#include "kernels/cuda/tensor_map.h"

namespace baton::kernels::cuda {
namespace {

bool SameShape(const WeightImage& a, const WeightImage& b) {
  return a.n == b.n && a.k == b.k && a.type == b.type && a.value_pitch == b.value_pitch &&
         a.block == b.block && a.row_offset == b.row_offset && a.column_offset == b.column_offset &&
         a.scale_pitch == b.scale_pitch;
}

GatedImage ImagesOf(const FeedForwardWeights& weights) {
  return {Unpack(weights.gate).image(), Unpack(weights.up).image(), Unpack(weights.down).image()};
}

void CheckShapes(const GatedImage& expert, const GatedImage& first) {
  BATON_CHECK(SameShape(expert.gate, first.gate) && SameShape(expert.up, first.up) &&
              SameShape(expert.down, first.down))
      << "experts of different shapes";
}

CUtensorMap Encode(const MatrixForCopy& matrix) {
  CUtensorMap map;
  CheckCuda(EncodeTensorMap(matrix, &map), "tensor map of a weight");
  return map;
}

CUtensorMap MapOf(const WeightImage& image) {
  return Encode(WeightForCopy(image.values, image.n, image.k));
}

ExpertWeights MappedExpert(const GatedImage& image) {
  ExpertWeights weights;
  weights.gate = MapOf(image.gate);
  weights.up = MapOf(image.up);
  weights.down = MapOf(image.down);
  weights.gate_scales = image.gate.scales;
  weights.up_scales = image.up.scales;
  weights.down_scales = image.down.scales;
  BATON_CHECK(image.gate.scale_pitch == image.up.scale_pitch);
  weights.gate_up_scale_stride = image.gate.scale_pitch;
  weights.down_scale_stride = image.down.scale_pitch;
  return weights;
}

std::vector<uint64_t> GatesOf(std::span<const FeedForwardWeights> weights) {
  std::vector<uint64_t> ids;
  ids.reserve(weights.size() + 1);
  for (const FeedForwardWeights& expert : weights) ids.push_back(Unpack(expert.gate).id());
  return ids;
}

}  // namespace

WeightTables::Table& WeightTables::Find(Tables& tables, std::vector<uint64_t> ids) {
  BATON_CHECK(!ids.empty());
  Table& table = tables[ids.front()];
  if (table.ids != ids) table = {std::move(ids), nullptr};
  return table;
}

void WeightTables::Fill(Table& table, const void* entries, size_t bytes, PinnedRing& ring,
                        cudaStream_t stream) {
  absl::StatusOr<std::unique_ptr<CudaBuffer>> memory = CudaBuffer::Create(bytes, stream);
  BATON_CHECK_OK(memory.status());
  ring.CopyToDevice((*memory)->data(), entries, bytes);
  // Kernels read tables before they wait for their predecessor in the stream.
  CheckCuda(cudaStreamSynchronize(stream), "table of weights");
  table.memory = *std::move(memory);
}

const GatedImage* WeightTables::Experts(std::span<const FeedForwardWeights> weights,
                                        PinnedRing& ring, cudaStream_t stream) {
  Table& table = Find(images_, GatesOf(weights));
  if (table.memory == nullptr) {
    std::vector<GatedImage> images;
    for (const FeedForwardWeights& expert : weights) {
      images.push_back(ImagesOf(expert));
      CheckShapes(images.back(), images.front());
    }
    Fill(table, images.data(), images.size() * sizeof(GatedImage), ring, stream);
  }
  return static_cast<const GatedImage*>(table.memory->data());
}

const ExpertWeights* WeightTables::MappedExperts(std::span<const FeedForwardWeights> routed,
                                                 const FeedForwardWeights& shared, PinnedRing& ring,
                                                 cudaStream_t stream) {
  std::vector<uint64_t> ids = GatesOf(routed);
  if (shared.gate != nullptr) ids.push_back(Unpack(shared.gate).id());
  Table& table = Find(experts_, std::move(ids));
  if (table.memory == nullptr) {
    const GatedImage first = ImagesOf(routed.empty() ? shared : routed.front());
    std::vector<ExpertWeights> experts;
    const auto add = [&](const FeedForwardWeights& expert) {
      const GatedImage image = ImagesOf(expert);
      CheckShapes(image, first);
      experts.push_back(MappedExpert(image));
    };
    for (const FeedForwardWeights& expert : routed) add(expert);
    if (shared.gate != nullptr) add(shared);
    Fill(table, experts.data(), experts.size() * sizeof(ExpertWeights), ring, stream);
  }
  return static_cast<const ExpertWeights*>(table.memory->data());
}

const CUtensorMap* WeightTables::Heads(std::span<const PackedWeight* const> weights,
                                       PinnedRing& ring, cudaStream_t stream) {
  std::vector<uint64_t> ids;
  ids.reserve(weights.size());
  for (const PackedWeight* weight : weights) ids.push_back(Unpack(weight).id());
  Table& table = Find(heads_, std::move(ids));
  if (table.memory == nullptr) {
    const WeightImage first = Unpack(weights.front()).image();
    std::vector<CUtensorMap> maps;
    for (const PackedWeight* weight : weights) {
      const WeightImage image = Unpack(weight).image();
      BATON_CHECK(SameShape(image, first)) << "heads of different shapes";
      maps.push_back(Encode(Bf16WeightForCopy(image.values, image.n, image.k)));
    }
    Fill(table, maps.data(), maps.size() * sizeof(CUtensorMap), ring, stream);
  }
  return static_cast<const CUtensorMap*>(table.memory->data());
}

size_t WeightTables::bytes() const {
  size_t bytes = 0;
  for (const Tables* tables : {&images_, &experts_, &heads_}) {
    for (const auto& [id, table] : *tables) bytes += table.memory->bytes();
  }
  return bytes;
}

}  // namespace baton::kernels::cuda
