#include <algorithm>
#include <cstring>

#include "common/log/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/rotate_head.h"

namespace baton::kernels::cpu {
namespace {

static_assert(kSplitTokens == kAttentionSplitTokens);
static_assert(kBlockTokens % kScoreRows == 0);

constexpr int64_t kQueryAlignment = 32;
// Enough to even out the threads: rows of one sequence differ in length.
constexpr int64_t kAttendTasksPerThread = 4;

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
  const TensorView& table = args.rotary_table;
  BATON_CHECK(table.data == nullptr ||
              (table.columns == cache.rope_dims && cache.rope_dims % 2 == 0));
  const int64_t element = static_cast<int64_t>(SizeOf(cache.pages.type));
  for (int64_t token = 0; token < args.latent.rows; ++token) {
    if (args.layout.sequence_rows[token] < 0) continue;
    const int64_t position = args.layout.positions[token];
    const int64_t block = BlocksOf(args.layout, token)[position / kBlockTokens];
    const int64_t row = block * kBlockTokens + position % kBlockTokens;
    BATON_CHECK(row >= 0 && row < cache.pages.rows) << "block " << block;
    std::memcpy(At(cache.pages, row, 0), At(args.latent, token, 0), cache.latent_dims * element);
    std::memcpy(At(cache.pages, row, cache.latent_dims), At(args.rope_key, token, 0),
                cache.rope_dims * element);
    if (table.data == nullptr) continue;
    if (cache.pages.type == DataType::kBFloat16) {
      RotateHead(table.Row<float>(position), cache.rope_dims,
                 cache.pages.Row<BFloat16>(row) + cache.latent_dims);
    } else {
      RotateHead(table.Row<float>(position), cache.rope_dims,
                 cache.pages.Row<float>(row) + cache.latent_dims);
    }
  }
}

// Cuts a step into tasks: all heads of a few neighbouring rows of one sequence, as many queries as
// a call takes; the heads of few rows are divided among the threads.
void CpuOps::CutAttention(const MlaAttentionArgs& args) {
  const int64_t rows = args.out.rows;
  const int64_t threads = device_.pool.num_threads();
  int64_t heads = std::min(args.heads, kMaxAttendQueries);
  if (rows < threads) heads = std::min(heads, (args.heads * rows + threads - 1) / threads);
  const int64_t share = std::max<int64_t>(rows / (threads * kAttendTasksPerThread), 1);
  const int64_t most_rows = std::min(kMaxAttendQueries / heads, share);
  attend_tasks_.clear();
  for (int64_t row = 0; row < rows;) {
    int64_t end = row + 1;
    if (args.layout.sequence_rows[row] < 0) {
      row = end;
      continue;
    }
    while (end < rows && end - row < most_rows &&
           args.layout.sequence_rows[end] == args.layout.sequence_rows[row] &&
           args.layout.positions[end] >= args.layout.positions[end - 1]) {
      ++end;
    }
    for (int64_t head = 0; head < args.heads; head += heads) {
      attend_tasks_.push_back({row, end - row, head, std::min(heads, args.heads - head)});
    }
    row = end;
  }
}

void CpuOps::MlaAttention(const MlaAttentionArgs& args) {
  CheckShapes(args);
  if (args.out.empty()) return;
  device_.scratch.Reset();
  const KvPages& cache = args.cache;
  const int64_t width = cache.latent_dims + cache.rope_dims;
  const int64_t q_stride = (width + kQueryAlignment - 1) / kQueryAlignment * kQueryAlignment;
  const int64_t row_bytes = q_stride * static_cast<int64_t>(SizeOf(cache.pages.type));
  const int64_t floats = AttendScratchFloats(cache.latent_dims, q_stride);
  const int64_t threads = device_.pool.num_threads();
  std::byte* queries = device_.scratch.Take<std::byte>(threads * kMaxAttendQueries * row_bytes);
  float* working = device_.scratch.Take<float>(threads * floats);
  int64_t work = 0;
  for (int32_t position : args.layout.positions) work += (position + 1) * args.heads * width * 2;
  CutAttention(args);
  device_.ForEach(static_cast<int64_t>(attend_tasks_.size()), work, [&](int64_t index, int thread) {
    // Long rows come last in a sequence: starting with them evens out the threads.
    const AttendTask& task = attend_tasks_[attend_tasks_.size() - 1 - index];
    std::byte* q = queries + thread * kMaxAttendQueries * row_bytes;
    int32_t lengths[kMaxAttendQueries];
    void* out[kMaxAttendQueries];
    int64_t count = 0;
    for (int64_t row = task.row; row < task.row + task.num_rows; ++row) {
      GatherQueries(args, row, task.head, task.num_heads, q_stride, q + count * row_bytes);
      for (int64_t head = task.head; head < task.head + task.num_heads; ++head, ++count) {
        lengths[count] = args.layout.positions[row] + 1;
        out[count] = At(args.out, row, head * cache.latent_dims);
      }
    }
    AttendArgs attend = {};
    attend.bfloat16 = cache.pages.type == DataType::kBFloat16;
    attend.q = q;
    attend.q_stride = q_stride;
    attend.lengths = lengths;
    attend.num_queries = count;
    attend.pages = cache.pages.data;
    attend.page_stride = cache.pages.row_stride;
    attend.width = width;
    attend.value_dims = cache.latent_dims;
    attend.blocks = BlocksOf(args.layout, task.row);
    attend.scale = args.scale;
    attend.scratch = working + thread * floats;
    attend.out = out;
    device_.kernels.attend(attend);
  });
}

}  // namespace baton::kernels::cpu
