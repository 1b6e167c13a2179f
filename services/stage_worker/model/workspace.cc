#include "services/stage_worker/model/workspace.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "kernels/api/attention.h"

namespace baton::stage {
namespace {

constexpr uint64_t kAlignment = 64;

// Cuts one allocation into aligned pieces; with a null base it only counts.
class Carver {
 public:
  explicit Carver(char* base) : base_(base) {}

  TensorView Tensor(DataType type, int64_t rows, int64_t columns) {
    void* data = Take(static_cast<uint64_t>(rows * columns) * SizeOf(type));
    return {data, type, rows, columns, columns};
  }
  template <typename T>
  std::span<T> Array(int64_t size) {
    T* data = static_cast<T*>(Take(static_cast<uint64_t>(size) * sizeof(T)));
    return base_ == nullptr ? std::span<T>() : std::span<T>(data, static_cast<size_t>(size));
  }
  uint64_t bytes() const { return offset_; }

 private:
  void* Take(uint64_t bytes) {
    void* data = base_ == nullptr ? nullptr : base_ + offset_;
    offset_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    return data;
  }

  char* const base_;
  uint64_t offset_ = 0;
};

void CarveAttention(const WorkspaceShape& shape, Carver& carver, Workspace& space) {
  const ModelConfig& config = shape.config;
  const int64_t tokens = shape.max_step_tokens;
  const int64_t heads = config.num_heads / shape.num_ranks;
  const DataType type = shape.compute_type;
  space.q_a = carver.Tensor(type, tokens, config.q_lora_rank);
  space.kv_a = carver.Tensor(type, tokens, config.kv_width());
  space.q = carver.Tensor(type, tokens, heads * config.qk_head_dim());
  space.q_latent = carver.Tensor(type, tokens, heads * config.kv_lora_rank);
  space.attended = carver.Tensor(type, tokens, heads * config.kv_lora_rank);
  space.value = carver.Tensor(type, tokens, heads * config.v_head_dim);
  space.rotary_table =
      carver.Tensor(DataType::kFloat32, shape.max_model_len, config.qk_rope_head_dim);
}

void CarveStream(const WorkspaceShape& shape, Carver& carver, Workspace& space) {
  const ModelConfig& config = shape.config;
  const int64_t tokens = shape.max_step_tokens;
  const int64_t hidden = config.hidden_size;
  if (shape.stage.has_embedding || shape.stage.has_mtp) {
    space.zeros = carver.Tensor(shape.compute_type, tokens, hidden);
  }
  if (shape.stage.has_mtp) space.joined = carver.Tensor(shape.compute_type, tokens, 2 * hidden);
  space.residual = carver.Tensor(shape.compute_type, tokens, hidden);
  space.normed = carver.Tensor(shape.compute_type, tokens, hidden);
  for (int rank = 0; rank < shape.num_local_ranks; ++rank) {
    space.parts.push_back(carver.Tensor(DataType::kFloat32, tokens, hidden));
  }
  if (shape.copies_slices && !(shape.stage.has_embedding && shape.stage.has_head)) {
    for (int rank = 0; rank < shape.num_local_ranks; ++rank) {
      space.slices.push_back(carver.Tensor(shape.compute_type, tokens, hidden / shape.num_ranks));
    }
  }
  space.summed = carver.Tensor(DataType::kFloat32, tokens, hidden);
  space.router_logits = carver.Tensor(DataType::kFloat32, tokens, config.num_experts);
  space.experts = carver.Array<int32_t>(tokens * config.experts_per_token);
  space.expert_weights = carver.Array<float>(tokens * config.experts_per_token);
}

void CarveHead(const WorkspaceShape& shape, Carver& carver, Workspace& space) {
  const ModelConfig& config = shape.config;
  const int64_t rows = std::min(shape.max_step_tokens, kMaxLogitRows);
  space.head_rows = carver.Tensor(shape.compute_type, rows, config.hidden_size);
  for (int rank = 0; rank < shape.num_local_ranks; ++rank) {
    space.logit_shards.push_back(
        carver.Tensor(DataType::kFloat32, rows, config.vocab_size / shape.num_ranks));
  }
  space.logits = carver.Tensor(DataType::kFloat32, rows, config.vocab_size);
}

void Carve(const WorkspaceShape& shape, Carver& carver, Workspace& space) {
  const int64_t tokens = shape.max_step_tokens;
  const int64_t max_blocks =
      (shape.max_model_len + kernels::kBlockTokens - 1) / kernels::kBlockTokens;
  space.token_ids = carver.Array<uint32_t>(tokens);
  space.positions = carver.Array<int32_t>(tokens);
  space.sequence_rows = carver.Array<int32_t>(tokens);
  space.block_tables = carver.Array<int32_t>(shape.max_step_sequences * max_blocks);
  CarveStream(shape, carver, space);
  CarveAttention(shape, carver, space);
  if (shape.stage.has_head) CarveHead(shape, carver, space);
  space.bytes = carver.bytes();
}

}  // namespace

uint64_t WorkspaceBytes(const WorkspaceShape& shape) {
  Workspace space;
  Carver counter(nullptr);
  Carve(shape, counter, space);
  return space.bytes;
}

absl::StatusOr<std::unique_ptr<Workspace>> CreateWorkspace(const WorkspaceShape& shape,
                                                           kernels::Ops* ops) {
  const uint64_t bytes = WorkspaceBytes(shape);
  absl::StatusOr<std::unique_ptr<kernels::DeviceBuffer>> memory = ops->Allocate(bytes);
  if (!memory.ok()) {
    return Annotate(memory.status(), absl::StrCat("workspace of ", bytes, " bytes"));
  }
  auto space = std::make_unique<Workspace>();
  Carver carver(static_cast<char*>((*memory)->data()));
  Carve(shape, carver, *space);
  space->memory = *std::move(memory);
  const std::vector<float> table = BuildRotaryTable(shape.config, shape.max_model_len);
  ops->CopyToDevice(space->rotary_table.data, table.data(), table.size() * sizeof(float));
  return space;
}

}  // namespace baton::stage
