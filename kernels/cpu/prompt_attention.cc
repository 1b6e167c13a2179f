#include "kernels/cpu/prompt_attention.h"

#include <algorithm>
#include <cstring>

#include "common/log/check.h"
#include "kernels/cpu/product.h"

namespace baton::kernels::cpu {
namespace {

constexpr int64_t kAlignment = 32;  // elements
// Positions whose keys or values of one head are one task.
constexpr int64_t kExpandedPositions = 128;
constexpr int64_t kSplitBlocks = kSplitTokens / kBlockTokens;

int64_t RoundUp(int64_t value) { return (value + kAlignment - 1) / kAlignment * kAlignment; }

std::byte* At(const TensorView& view, int64_t row, int64_t column) {
  return static_cast<std::byte*>(view.data) + (row * view.row_stride + column) * SizeOf(view.type);
}

}  // namespace

PromptAttention::Shape::Shape(const MlaPromptAttentionArgs& args)
    : heads(static_cast<int64_t>(args.key_weights.size())),
      nope_dims(args.key_weights.front()->n()),
      rope_dims(args.cache.rope_dims),
      value_dims(args.value_weights.front()->n()),
      width(nope_dims + rope_dims),
      q_stride(RoundUp(width)),
      kv_stride(RoundUp(width + value_dims)),
      element(static_cast<int64_t>(SizeOf(args.q.type))) {
  const int64_t head_stride = args.q_head_stride == 0 ? width : args.q_head_stride;
  BATON_CHECK(static_cast<int64_t>(args.value_weights.size()) == heads);
  BATON_CHECK(args.cache.pages.columns == args.cache.latent_dims + rope_dims);
  BATON_CHECK(args.q.columns >= (heads - 1) * head_stride + width);
  BATON_CHECK(args.out.columns == heads * value_dims && args.out.rows == args.q.rows);
  BATON_CHECK(args.q.type == args.cache.pages.type && args.out.type == args.q.type);
  for (int64_t head = 0; head < heads; ++head) {
    const PackedWeight& key = *args.key_weights[head];
    const PackedWeight& value = *args.value_weights[head];
    BATON_CHECK(key.n() == nope_dims && key.k() == args.cache.latent_dims) << "head " << head;
    BATON_CHECK(value.n() == value_dims && value.k() == args.cache.latent_dims) << "head " << head;
  }
}

PromptAttention::PromptAttention(DeviceContext& device) : device_(device) {
  for (int32_t block = 0; block < kSplitBlocks; ++block) blocks_.push_back(block);
}

void PromptAttention::Attend(const MlaPromptAttentionArgs& args) {
  if (args.out.empty()) return;
  const Shape shape(args);
  const StepLayout& layout = args.layout;
  for (int64_t row = 0; row < args.out.rows;) {
    int64_t end = row + 1;
    while (end < args.out.rows && layout.sequence_rows[end] == layout.sequence_rows[row] &&
           layout.positions[end] >= layout.positions[end - 1]) {
      ++end;
    }
    if (layout.sequence_rows[row] >= 0) AttendSequence(args, shape, row, end);
    row = end;
  }
}

void PromptAttention::AttendSequence(const MlaPromptAttentionArgs& args, const Shape& shape,
                                     int64_t row_begin, int64_t row_end) {
  const std::span<const int32_t> positions = args.layout.positions;
  const int64_t length = positions[row_end - 1] + 1;
  const int64_t threads = device_.pool.num_threads();
  kept_.Reset();
  const DataType type = args.q.type;
  const int64_t columns = args.cache.pages.columns;
  TensorView entries = {nullptr, type, 0, columns, RoundUp(columns)};
  entries.data = kept_.Take<std::byte>(kSplitTokens * entries.row_stride * shape.element);
  auto* expanded =
      kept_.Take<std::byte>(shape.heads * kSplitTokens * shape.kv_stride * shape.element);
  queries_ = kept_.Take<std::byte>(threads * kMaxAttendQueries * shape.q_stride * shape.element);
  working_ = kept_.Take<float>(threads * AttendScratchFloats(shape.value_dims, shape.q_stride));
  const int64_t states = (row_end - row_begin) * shape.heads * AttendStateFloats(shape.value_dims);
  states_ = length > kSplitTokens ? kept_.Take<float>(states) : nullptr;
  first_row_ = row_begin;
  sequence_rows_ = row_end - row_begin;
  for (int64_t begin = 0; begin < length; begin += kSplitTokens) {
    entries.rows = std::min(length - begin, kSplitTokens);
    while (positions[row_begin] < begin) ++row_begin;
    GatherEntries(args, row_begin, begin, entries.rows, entries);
    ExpandEntries(args, shape, entries, expanded);
    CutRows(args, shape, row_begin, row_end);
    AttendSplit(args, shape, begin, expanded);
  }
}

void PromptAttention::GatherEntries(const MlaPromptAttentionArgs& args, int64_t row, int64_t begin,
                                    int64_t count, const TensorView& entries) {
  const StepLayout& layout = args.layout;
  const TensorView& pages = args.cache.pages;
  const int64_t bytes = pages.columns * static_cast<int64_t>(SizeOf(pages.type));
  const int32_t* blocks =
      layout.block_tables.data() + layout.sequence_rows[row] * layout.max_blocks;
  const int64_t num_blocks = (count + kBlockTokens - 1) / kBlockTokens;
  device_.ForEach(num_blocks, count * pages.columns / 4, [&](int64_t index, int) {
    const int64_t first = index * kBlockTokens;
    const int64_t end = std::min(first + kBlockTokens, count);
    const int64_t page = int64_t{blocks[begin / kBlockTokens + index]} * kBlockTokens;
    BATON_CHECK(page >= 0 && page + end - first <= pages.rows) << "block at " << page;
    for (int64_t i = first; i < end; ++i) {
      std::memcpy(At(entries, i, 0), At(pages, page + i - first, 0), bytes);
    }
  });
}

void PromptAttention::ExpandEntries(const MlaPromptAttentionArgs& args, const Shape& shape,
                                    const TensorView& entries, std::byte* expanded) {
  const TensorView latents = entries.Columns(0, args.cache.latent_dims);
  device_.scratch.Reset();
  // All weights of a call are packed alike.
  const PreparedRows prepared =
      PrepareRows(device_, latents, Unpack(args.key_weights.front()).row_form());
  const int64_t parts = (entries.rows + kExpandedPositions - 1) / kExpandedPositions;
  const int64_t tasks = 2 * shape.heads * parts;
  const int64_t work =
      entries.rows * shape.heads * latents.columns * (shape.nope_dims + shape.value_dims);
  device_.ForEach(tasks, work, [&](int64_t task, int thread) {
    const int64_t begin = task % parts * kExpandedPositions;
    const int64_t count = std::min(kExpandedPositions, entries.rows - begin);
    const int64_t head = task / parts / 2;
    const bool keys = task / parts % 2 == 0;
    const TensorView rows = {
        expanded + (head * kSplitTokens + begin) * shape.kv_stride * shape.element, entries.type,
        count, shape.kv_stride, shape.kv_stride};
    PreparedRows x = prepared;
    x.data = static_cast<const std::byte*>(x.data) + begin * x.stride * SizeOf(x.type);
    const PanelWeight& weight = Unpack((keys ? args.key_weights : args.value_weights)[head]);
    const TensorView out =
        keys ? rows.Columns(0, shape.nope_dims) : rows.Columns(shape.width, shape.value_dims);
    MultiplyPanels(device_, thread, {x, nullptr, &weight, 0, weight.num_panels(), out});
    for (int64_t i = 0; keys && i < count; ++i) {
      std::memcpy(At(rows, i, shape.nope_dims), At(entries, begin + i, latents.columns),
                  shape.rope_dims * shape.element);
    }
  });
}

// Neighbouring rows as far as they end in one split, as many as a call takes.
void PromptAttention::CutRows(const MlaPromptAttentionArgs& args, const Shape& shape,
                              int64_t row_begin, int64_t row_end) {
  const std::span<const int32_t> positions = args.layout.positions;
  const int64_t threads = device_.pool.num_threads();
  // Few rows are divided among the threads.
  const int64_t share = (row_end - row_begin) * shape.heads / threads;
  const int64_t most = std::clamp<int64_t>(share, 1, kMaxAttendQueries);
  groups_.clear();
  for (int64_t row = row_begin; row < row_end;) {
    int64_t end = row + 1;
    while (end < row_end && end - row < most &&
           positions[end] / kSplitTokens == positions[row] / kSplitTokens) {
      ++end;
    }
    groups_.push_back({row, end - row});
    row = end;
  }
}

void PromptAttention::AttendSplit(const MlaPromptAttentionArgs& args, const Shape& shape,
                                  int64_t begin, const std::byte* expanded) {
  const std::span<const int32_t> positions = args.layout.positions;
  const int64_t head_stride = args.q_head_stride == 0 ? shape.width : args.q_head_stride;
  const int64_t state_floats = AttendStateFloats(shape.value_dims);
  const int64_t num_tasks = static_cast<int64_t>(groups_.size()) * shape.heads;
  const int64_t rows = groups_.back().row + groups_.back().count - groups_.front().row;
  const int64_t work = rows * kSplitTokens * shape.heads * (shape.width + shape.value_dims) / 2;
  device_.ForEach(num_tasks, work, [&](int64_t index, int thread) {
    // Rows that see most of the split come last: starting with them evens out the threads.
    const RowGroup& group = groups_[groups_.size() - 1 - index / shape.heads];
    const int64_t head = index % shape.heads;
    std::byte* q = queries_ + thread * kMaxAttendQueries * shape.q_stride * shape.element;
    int32_t lengths[kMaxAttendQueries];
    void* out[kMaxAttendQueries];
    for (int64_t i = 0; i < group.count; ++i) {
      const int64_t row = group.row + i;
      std::byte* to = q + i * shape.q_stride * shape.element;
      std::memcpy(to, At(args.q, row, head * head_stride), shape.width * shape.element);
      std::memset(to + shape.width * shape.element, 0,
                  (shape.q_stride - shape.width) * shape.element);
      lengths[i] = static_cast<int32_t>(std::min(positions[row] + 1 - begin, kSplitTokens));
      out[i] = At(args.out, row, head * shape.value_dims);
    }
    AttendArgs attend = {};
    attend.bfloat16 = args.q.type == DataType::kBFloat16;
    attend.q = q;
    attend.q_stride = shape.q_stride;
    attend.lengths = lengths;
    attend.num_queries = group.count;
    attend.pages = expanded + head * kSplitTokens * shape.kv_stride * shape.element;
    attend.page_stride = shape.kv_stride;
    attend.width = shape.width;
    attend.value_column = shape.width;
    attend.value_dims = shape.value_dims;
    attend.blocks = blocks_.data();
    attend.scale = args.scale;
    attend.scratch = working_ + thread * AttendScratchFloats(shape.value_dims, shape.q_stride);
    attend.out = out;
    attend.first_split = begin == 0;
    attend.last_split = positions[group.row] - begin < kSplitTokens;
    if (states_ != nullptr) {
      attend.state = states_ + (head * sequence_rows_ + group.row - first_row_) * state_floats;
    }
    device_.kernels.attend(attend);
  });
}

}  // namespace baton::kernels::cpu
