// A weight in the memory of one CUDA device.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "kernels/api/linear.h"
#include "kernels/cuda/launches/device_memory.h"
#include "kernels/cuda/launches/weight_image.h"
#include "kernels/cuda/plan/weight_layout.h"

namespace baton::kernels::cuda {

class CudaWeight final : public PackedWeight {
 public:
  CudaWeight(const WeightLayout& layout, DeviceArena::Piece memory, uint64_t id)
      : PackedWeight(layout.n, layout.k), layout_(layout), memory_(std::move(memory)), id_(id) {}

  size_t bytes() const override { return memory_.bytes; }
  const WeightLayout& layout() const { return layout_; }
  // No other weight of the process has it or had it: what caches know weights by.
  uint64_t id() const { return id_; }
  WeightImage image() const;

 private:
  const WeightLayout layout_;
  const DeviceArena::Piece memory_;
  const uint64_t id_;
};

// The weight that the same backend's Pack has made.
const CudaWeight& Unpack(const PackedWeight* weight);

}  // namespace baton::kernels::cuda
