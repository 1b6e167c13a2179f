#include "kernels/cuda/cuda_weight.h"

#include "common/log/check.h"

namespace baton::kernels::cuda {

WeightImage CudaWeight::image() const {
  WeightImage image;
  image.values = memory_.data();
  if (layout_.scaled()) {
    image.scales = reinterpret_cast<const float*>(static_cast<const char*>(memory_.data()) +
                                                  layout_.scale_offset);
  }
  image.type = layout_.type;
  image.block = static_cast<int32_t>(layout_.block);
  image.row_offset = static_cast<int32_t>(layout_.row_offset);
  image.column_offset = static_cast<int32_t>(layout_.column_offset);
  image.scale_pitch = static_cast<int32_t>(layout_.scale_pitch);
  image.n = layout_.n;
  image.k = layout_.k;
  image.value_pitch = layout_.value_pitch;
  return image;
}

const CudaWeight& Unpack(const PackedWeight* weight) {
  BATON_CHECK(weight != nullptr);
  return *static_cast<const CudaWeight*>(weight);
}

}  // namespace baton::kernels::cuda
