// The KV cache of one device: pages of 64 tokens, per layer one latent and one rotary key a token.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"

#include "common/model/model_config.h"
#include "common/tensor/data_type.h"
#include "kernels/api/ops.h"

namespace baton::stage {

struct KvCacheShape {
  int64_t num_layers = 0;  // of the stage
  int64_t latent_dims = 0;
  int64_t rope_dims = 0;
  DataType type = DataType::kBFloat16;

  // Bytes of one block over all layers of the stage, on one device.
  uint64_t block_bytes() const;
};

KvCacheShape KvShapeOf(const ModelConfig& config, int64_t num_layers, DataType compute_type);

// A block that is handed to another sequence keeps its old contents until they are overwritten;
// they are never read, because a position is written in the very step that first attends to it and
// attention reads positions up to the row's own only (SequenceTable refuses gaps).
class KvCache final {
 public:
  // `ops` must outlive the cache. Errors: InvalidArgument (no blocks), ResourceExhausted (memory).
  static absl::StatusOr<std::unique_ptr<KvCache>> Create(const KvCacheShape& shape,
                                                         int64_t num_blocks, kernels::Ops* ops);

  // `layer` counts from the stage's first.
  kernels::KvPages Layer(int64_t layer) const;
  int64_t num_blocks() const { return num_blocks_; }
  uint64_t bytes() const { return shape_.block_bytes() * static_cast<uint64_t>(num_blocks_); }

 private:
  KvCache(const KvCacheShape& shape, int64_t num_blocks) : shape_(shape), num_blocks_(num_blocks) {}

  const KvCacheShape shape_;
  const int64_t num_blocks_;
  std::vector<std::unique_ptr<kernels::DeviceBuffer>> layers_;
};

}  // namespace baton::stage
