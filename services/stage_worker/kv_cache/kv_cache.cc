#include "services/stage_worker/kv_cache/kv_cache.h"

#include <utility>

#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "kernels/api/attention.h"

namespace baton::stage {

uint64_t KvCacheShape::block_bytes() const {
  return static_cast<uint64_t>(num_layers * kernels::kBlockTokens * (latent_dims + rope_dims)) *
         SizeOf(type);
}

KvCacheShape KvShapeOf(const ModelConfig& config, int64_t num_layers, DataType compute_type) {
  return {num_layers, config.kv_lora_rank, config.qk_rope_head_dim, compute_type};
}

absl::StatusOr<std::unique_ptr<KvCache>> KvCache::Create(const KvCacheShape& shape,
                                                         int64_t num_blocks, kernels::Ops* ops) {
  if (num_blocks < 1) {
    return absl::InvalidArgumentError(absl::StrCat("a KV cache of ", num_blocks, " blocks"));
  }
  std::unique_ptr<KvCache> cache(new KvCache(shape, num_blocks));
  const size_t layer_bytes =
      shape.block_bytes() / static_cast<size_t>(shape.num_layers) * static_cast<size_t>(num_blocks);
  for (int64_t layer = 0; layer < shape.num_layers; ++layer) {
    absl::StatusOr<std::unique_ptr<kernels::DeviceBuffer>> buffer = ops->Allocate(layer_bytes);
    if (!buffer.ok()) {
      return Annotate(buffer.status(),
                      absl::StrCat("KV cache of layer ", layer, ", ", layer_bytes, " bytes"));
    }
    cache->layers_.push_back(*std::move(buffer));
  }
  return cache;
}

kernels::KvPages KvCache::Layer(int64_t layer) const {
  const int64_t width = shape_.latent_dims + shape_.rope_dims;
  const TensorView pages{layers_[static_cast<size_t>(layer)]->data(), shape_.type,
                         num_blocks_ * kernels::kBlockTokens, width, width};
  return {pages, shape_.latent_dims, shape_.rope_dims};
}

}  // namespace baton::stage
