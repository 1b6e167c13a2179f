#include "kernels/cuda/latent_attention.h"

#include <algorithm>

#include "common/log/check.h"
#include "kernels/cuda/launches/cuda_stream.h"
#include "kernels/cuda/mla_attention.h"
#include "kernels/cuda/plan/mla_plan.h"
#include "kernels/cuda/tensor_map.h"

namespace baton::kernels::cuda {
namespace {

// Partial results of more splits than fit here are not worth their way through memory.
constexpr int64_t kMostSplitBytes = int64_t{512} << 20;

bool IsAligned(const TensorView& view) {
  return view.row_stride % 8 == 0 && reinterpret_cast<uintptr_t>(view.data) % 16 == 0;
}

}  // namespace

bool TakesLatentAttention(const MlaAttentionArgs& args) {
  return args.out.type == DataType::kBFloat16 && args.cache.latent_dims == kLatentDims &&
         args.cache.rope_dims == kRopeKeyDims && args.cache.pages.row_stride % 8 == 0 &&
         args.q_rope_head_stride % 8 == 0 && IsAligned(args.q_latent) && IsAligned(args.q_rope) &&
         IsAligned(args.out) && IsAligned(args.cache.pages);
}

void LaunchLatentAttention(const MlaAttentionArgs& args, int multiprocessors,
                           DeviceScratch& scratch, cudaStream_t stream) {
  if (args.out.empty()) return;
  MlaArgs mla;
  CheckCuda(EncodeTensorMap(KvForCopy(args.cache.pages.data, args.cache.pages.rows,
                                      args.cache.pages.row_stride * 2),
                            &mla.keys),
            "tensor map of the cache");
  mla.q_latent = args.q_latent.data;
  mla.q_latent_stride = args.q_latent.row_stride;
  mla.q_rope = args.q_rope.data;
  mla.q_rope_stride = args.q_rope.row_stride;
  mla.q_rope_head_stride = args.q_rope_head_stride == 0 ? kRopeKeyDims : args.q_rope_head_stride;
  mla.positions = args.layout.positions.data();
  mla.sequence_rows = args.layout.sequence_rows.data();
  mla.block_tables = args.layout.block_tables.data();
  mla.max_blocks = args.layout.max_blocks;
  mla.out = args.out.data;
  mla.out_stride = args.out.row_stride;
  mla.scale = args.scale;
  mla.rows = static_cast<int>(args.out.rows);
  mla.heads = static_cast<int>(args.heads);
  const int64_t splits_per_row =
      KeySplits(static_cast<int>(std::max<int64_t>(args.layout.max_blocks, 1) * kBlockTokens - 1));
  const int64_t most_splits = args.out.rows * splits_per_row;
  const int64_t split_bytes =
      MlaWorkspaceBytes(mla.heads, mla.share_tiles, MlaSchedule::kSplits, most_splits);
  MlaSchedule schedule = MlaSchedule::kSplits;
  int64_t bytes = split_bytes;
  if (mla.rows > kMaxSplitRows || split_bytes > kMostSplitBytes) {
    schedule = MlaSchedule::kSequential;
    mla.share_tiles = true;
    bytes = MlaWorkspaceBytes(mla.heads, mla.share_tiles, schedule, multiprocessors);
  }
  // As much as any step with tables this wide may need, so that no later one moves the scratch.
  const int64_t most_bytes = MlaWorkspaceBytes(
      mla.heads, /*share_tiles=*/false, MlaSchedule::kSplits, kMaxSplitRows * splits_per_row);
  scratch.Begin(DeviceScratch::Aligned(
      static_cast<size_t>(std::max(bytes, std::min(most_bytes, kMostSplitBytes)))));
  mla.workspace = scratch.Cut<float>(bytes / static_cast<int64_t>(sizeof(float)));
  CheckCuda(LaunchMlaAttention(mla, schedule, multiprocessors, stream), "latent attention");
}

}  // namespace baton::kernels::cuda
