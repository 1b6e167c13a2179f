// The memory that one device's forward pass works in, allocated once.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

#include "common/model/model_config.h"
#include "common/model/weight_inventory.h"
#include "common/tensor/tensor_view.h"
#include "kernels/api/ops.h"

namespace baton::stage {

// Rows of logits that are computed at a time.
inline constexpr int64_t kMaxLogitRows = 128;

struct WorkspaceShape {
  ModelConfig config;
  StageShape stage;
  int num_ranks = 1;        // of the stage
  int num_local_ranks = 1;  // of the device
  DataType compute_type = DataType::kBFloat16;
  int64_t max_step_tokens = 0;
  int64_t max_step_sequences = 0;
  int64_t max_model_len = 0;
  // The device cannot read the memory that hidden states travel in: they are copied.
  bool copies_slices = false;
};

// Views of buffers with room for max_step_tokens rows (T below). Ranks of a device are computed one
// after the other and share their buffers, but for the partial sums. H = heads of a rank; C =
// compute type. Buffers that a stage has no use for are empty.
struct Workspace {
  TensorView zeros;               // C [T, hidden]; where tokens are embedded
  TensorView joined;              // C [T, 2 * hidden]; with the MTP module
  TensorView residual;            // C [T, hidden]
  TensorView normed;              // C [T, hidden]
  TensorView q_a;                 // C [T, q_lora_rank]
  TensorView kv_a;                // C [T, kv_lora_rank + rope]
  TensorView q;                   // C [T, H * (nope + rope)]
  TensorView q_latent;            // C [T, H * kv_lora_rank]
  TensorView attended;            // C [T, H * kv_lora_rank]
  TensorView value;               // C [T, H * v]
  std::vector<TensorView> parts;  // per local rank float32 [T, hidden]
  TensorView summed;              // float32 [T, hidden]
  TensorView router_logits;       // float32 [T, num_experts]
  std::span<int32_t> experts;     // [T * top_k]
  std::span<float> expert_weights;
  std::span<uint32_t> token_ids;         // [T]
  std::span<int32_t> positions;          // [T]
  std::span<int32_t> sequence_rows;      // [T]
  std::span<int32_t> block_tables;       // [max_step_sequences * blocks of max_model_len]
  TensorView rotary_table;               // float32 [max_model_len, rope]
  TensorView head_rows;                  // C [L, hidden], L = min(T, kMaxLogitRows); last stage
  std::vector<TensorView> slices;        // per local rank C [T, hidden / N]; if they are copied
  std::vector<TensorView> logit_shards;  // per local rank float32 [L, vocab / N]; last stage
  TensorView logits;                     // float32 [L, vocab]; last stage

  uint64_t bytes = 0;                             // of all of them
  std::unique_ptr<kernels::DeviceBuffer> memory;  // holds them all
};

// Exact bytes that CreateWorkspace will allocate.
uint64_t WorkspaceBytes(const WorkspaceShape& shape);

// Errors: those of Ops::Allocate.
absl::StatusOr<std::unique_ptr<Workspace>> CreateWorkspace(const WorkspaceShape& shape,
                                                           kernels::Ops* ops);

}  // namespace baton::stage
