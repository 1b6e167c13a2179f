#include <algorithm>
#include <cstring>

#include "common/log/check.h"
#include "kernels/cpu/cpu_ops.h"

namespace baton::kernels::cpu {
namespace {

static_assert(kSplitTokens == kAttentionSplitTokens);
static_assert(kBlockTokens % kScoreRows == 0);

constexpr int64_t kQueryAlignment = 32;

std::byte* At(const TensorView& view, int64_t row, int64_t column) {
  return static_cast<std::byte*>(view.data) + (row * view.row_stride + column) * SizeOf(view.type);
}

const int32_t* BlocksOf(const StepLayout& layout, int64_t token) {
  return layout.block_tables.data() + layout.sequence_rows[token] * layout.max_blocks;
}

// Copies queries of heads [first, first + count) as [latent | rope | zeros].
void GatherQueries(const MlaAttentionArgs& args, int64_t token, int64_t first, int64_t count,
                   int64_t stride, std::byte* to) {
  const KvPages& cache = args.cache;
  const int64_t element = static_cast<int64_t>(SizeOf(args.q_latent.type));
  const int64_t rope_stride =
      args.q_rope_head_stride == 0 ? cache.rope_dims : args.q_rope_head_stride;
  const int64_t width = cache.latent_dims + cache.rope_dims;
  for (int64_t head = first; head < first + count; ++head, to += stride * element) {
    std::memcpy(to, At(args.q_latent, token, head * cache.latent_dims),
                cache.latent_dims * element);
    std::memcpy(to + cache.latent_dims * element, At(args.q_rope, token, head * rope_stride),
                cache.rope_dims * element);
    std::memset(to + width * element, 0, (stride - width) * element);
  }
}

void CheckShapes(const MlaAttentionArgs& args) {
  const KvPages& cache = args.cache;
  BATON_CHECK(cache.pages.columns == cache.latent_dims + cache.rope_dims);
  BATON_CHECK(args.q_latent.columns == args.heads * cache.latent_dims);
  BATON_CHECK(args.out.columns == args.heads * cache.latent_dims);
  BATON_CHECK(args.q_rope.rows == args.q_latent.rows && args.out.rows == args.q_latent.rows);
  BATON_CHECK(args.q_latent.type == cache.pages.type && args.out.type == cache.pages.type &&
              args.q_rope.type == cache.pages.type);
}

}  // namespace

void CpuOps::KvWrite(const KvWriteArgs& args) {
  const KvPages& cache = args.cache;
  BATON_CHECK(args.latent.type == cache.pages.type && args.rope_key.type == cache.pages.type);
  BATON_CHECK(args.latent.columns == cache.latent_dims && args.rope_key.columns == cache.rope_dims);
  const int64_t element = static_cast<int64_t>(SizeOf(cache.pages.type));
  for (int64_t token = 0; token < args.latent.rows; ++token) {
    const int64_t position = args.layout.positions[token];
    const int64_t block = BlocksOf(args.layout, token)[position / kBlockTokens];
    const int64_t row = block * kBlockTokens + position % kBlockTokens;
    BATON_CHECK(row >= 0 && row < cache.pages.rows) << "block " << block;
    std::memcpy(At(cache.pages, row, 0), At(args.latent, token, 0), cache.latent_dims * element);
    std::memcpy(At(cache.pages, row, cache.latent_dims), At(args.rope_key, token, 0),
                cache.rope_dims * element);
  }
}

void CpuOps::MlaAttention(const MlaAttentionArgs& args) {
  CheckShapes(args);
  if (args.out.empty()) return;
  device_.scratch.Reset();
  const KvPages& cache = args.cache;
  const int64_t width = cache.latent_dims + cache.rope_dims;
  const int64_t q_stride = (width + kQueryAlignment - 1) / kQueryAlignment * kQueryAlignment;
  const int64_t q_bytes = kMaxAttendHeads * q_stride * static_cast<int64_t>(sizeof(float));
  const int64_t floats = AttendScratchFloats(cache.latent_dims);
  std::byte* queries = device_.scratch.Take<std::byte>(device_.pool.num_threads() * q_bytes);
  float* working = device_.scratch.Take<float>(device_.pool.num_threads() * floats);
  const int64_t groups = (args.heads + kMaxAttendHeads - 1) / kMaxAttendHeads;
  int64_t work = 0;
  for (int32_t position : args.layout.positions) work += (position + 1) * args.heads * width * 2;
  device_.ForEach(args.out.rows * groups, work, [&](int64_t task, int thread) {
    // Long rows come last in a sequence: starting with them evens out the threads.
    const int64_t token = args.out.rows - 1 - task / groups;
    const int64_t first = task % groups * kMaxAttendHeads;
    const int64_t count = std::min(kMaxAttendHeads, args.heads - first);
    std::byte* q = queries + thread * q_bytes;
    GatherQueries(args, token, first, count, q_stride, q);
    AttendArgs attend = {};
    attend.bfloat16 = cache.pages.type == DataType::kBFloat16;
    attend.q = q;
    attend.q_stride = q_stride;
    attend.num_heads = count;
    attend.pages = cache.pages.data;
    attend.page_stride = cache.pages.row_stride;
    attend.latent_dims = cache.latent_dims;
    attend.width = width;
    attend.blocks = BlocksOf(args.layout, token);
    attend.length = args.layout.positions[token] + 1;
    attend.scale = args.scale;
    attend.scratch = working + thread * floats;
    attend.out = At(args.out, token, first * cache.latent_dims);
    attend.out_stride = cache.latent_dims;
    device_.kernels.attend(attend);
  });
}

}  // namespace baton::kernels::cpu
