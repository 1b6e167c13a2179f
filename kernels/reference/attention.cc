#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/reference/reference_ops.h"
#include "kernels/reference/rows.h"

namespace baton::kernels {
namespace {

int64_t CacheRow(const StepLayout& layout, int64_t token, int64_t position) {
  const int64_t entry = layout.sequence_rows[token] * layout.max_blocks + position / kBlockTokens;
  return layout.block_tables[entry] * kBlockTokens + position % kBlockTokens;
}

// A sum over positions, softmax weights taken relative to `maximum`.
struct PartialSum {
  float maximum = -std::numeric_limits<float>::infinity();
  float total = 0.0f;
  std::vector<float> values;
};

// What a query meets at a position.
struct Entry {
  std::vector<float> key;
  std::vector<float> value;
};

float Score(const std::vector<float>& query, const std::vector<float>& key) {
  float score = 0.0f;
  for (size_t i = 0; i < query.size(); ++i) score += query[i] * key[i];
  return score;
}

// Positions [begin, end) of the query's sequence; `entry_at` gives what stands there.
template <typename EntryAt>
PartialSum AttendSplit(const std::vector<float>& query, float scale, int64_t begin, int64_t end,
                       const EntryAt& entry_at) {
  std::vector<Entry> entries;
  std::vector<float> scores;
  PartialSum sum;
  for (int64_t position = begin; position < end; ++position) {
    entries.push_back(entry_at(position));
    scores.push_back(Score(query, entries.back().key) * scale);
    sum.maximum = std::max(sum.maximum, scores.back());
  }
  sum.values.resize(entries.front().value.size());
  for (size_t j = 0; j < entries.size(); ++j) {
    const float probability = std::exp(scores[j] - sum.maximum);
    sum.total += probability;
    for (size_t i = 0; i < sum.values.size(); ++i) {
      sum.values[i] += probability * entries[j].value[i];
    }
  }
  return sum;
}

void Combine(const PartialSum& split, PartialSum* sum) {
  const float maximum = std::max(sum->maximum, split.maximum);
  const float old_factor = std::exp(sum->maximum - maximum);
  const float new_factor = std::exp(split.maximum - maximum);
  sum->maximum = maximum;
  sum->total = sum->total * old_factor + split.total * new_factor;
  sum->values.resize(split.values.size());
  for (size_t i = 0; i < sum->values.size(); ++i) {
    sum->values[i] = sum->values[i] * old_factor + split.values[i] * new_factor;
  }
}

// The weighted mean of what stands at positions [0, length), split by split.
template <typename EntryAt>
std::vector<float> Attend(const std::vector<float>& query, float scale, int64_t length,
                          const EntryAt& entry_at) {
  PartialSum sum;
  for (int64_t begin = 0; begin < length; begin += kAttentionSplitTokens) {
    const int64_t end = std::min(length, begin + kAttentionSplitTokens);
    Combine(AttendSplit(query, scale, begin, end, entry_at), &sum);
  }
  for (float& value : sum.values) value /= sum.total;
  return sum.values;
}

// [latent | rotary key] of a position becomes [key | rotary key] and value, of one head.
Entry Expand(const MlaPromptAttentionArgs& args, int64_t head, const std::vector<float>& entry) {
  const auto latent_end = entry.begin() + args.cache.latent_dims;
  const std::vector<float> latent(entry.begin(), latent_end);
  const auto product = [&](const PackedWeight* weight) {
    std::vector<float> out = static_cast<const ReferenceWeight*>(weight)->Product(latent);
    for (float& value : out) value = RoundTo(args.q.type, value);
    return out;
  };
  Entry expanded = {product(args.key_weights[head]), product(args.value_weights[head])};
  expanded.key.insert(expanded.key.end(), latent_end, entry.end());
  return expanded;
}

}  // namespace

void ReferenceOps::KvWrite(const KvWriteArgs& args) {
  for (int64_t token = 0; token < args.latent.rows; ++token) {
    if (args.layout.sequence_rows[token] < 0) continue;
    const int64_t row = CacheRow(args.layout, token, args.layout.positions[token]);
    const TensorView& pages = args.cache.pages;
    const TensorView key = pages.Columns(args.cache.latent_dims, args.cache.rope_dims);
    StoreRow(LoadRow(args.latent, token), pages.Columns(0, args.cache.latent_dims), row);
    StoreRow(LoadRow(args.rope_key, token), key, row);
    if (args.rotary_table.data == nullptr) continue;
    Rope({.x = key.Rows(row, 1),
          .heads = 1,
          .head_stride = args.cache.rope_dims,
          .dims = args.cache.rope_dims,
          .positions = args.layout.positions.subspan(static_cast<size_t>(token), 1),
          .table = args.rotary_table});
  }
}

void ReferenceOps::MlaAttention(const MlaAttentionArgs& args) {
  const int64_t latent_dims = args.cache.latent_dims;
  const int64_t rope_dims = args.cache.rope_dims;
  const int64_t rope_stride = args.q_rope_head_stride == 0 ? rope_dims : args.q_rope_head_stride;
  for (int64_t token = 0; token < args.q_latent.rows; ++token) {
    if (args.layout.sequence_rows[token] < 0) continue;
    const auto entry_at = [&](int64_t position) {
      Entry entry;
      entry.key = LoadRow(args.cache.pages, CacheRow(args.layout, token, position));
      entry.value.assign(entry.key.begin(), entry.key.begin() + latent_dims);
      return entry;
    };
    for (int64_t head = 0; head < args.heads; ++head) {
      std::vector<float> query =
          LoadRow(args.q_latent.Columns(head * latent_dims, latent_dims), token);
      const std::vector<float> rope =
          LoadRow(args.q_rope.Columns(head * rope_stride, rope_dims), token);
      query.insert(query.end(), rope.begin(), rope.end());
      StoreRow(Attend(query, args.scale, args.layout.positions[token] + 1, entry_at),
               args.out.Columns(head * latent_dims, latent_dims), token);
    }
  }
}

void ReferenceOps::MlaPromptAttention(const MlaPromptAttentionArgs& args) {
  const StepLayout& layout = args.layout;
  for (int64_t head = 0; head < static_cast<int64_t>(args.key_weights.size()); ++head) {
    const int64_t width = args.key_weights[head]->n() + args.cache.rope_dims;
    const int64_t value_dims = args.value_weights[head]->n();
    const int64_t stride = args.q_head_stride == 0 ? width : args.q_head_stride;
    std::vector<Entry> entries;  // of the sequence of the row before
    for (int64_t token = 0; token < args.q.rows; ++token) {
      if (layout.sequence_rows[token] < 0) continue;
      if (token > 0 && layout.sequence_rows[token] != layout.sequence_rows[token - 1]) {
        entries.clear();
      }
      const int64_t length = layout.positions[token] + 1;
      while (static_cast<int64_t>(entries.size()) < length) {
        const int64_t row = CacheRow(layout, token, static_cast<int64_t>(entries.size()));
        entries.push_back(Expand(args, head, LoadRow(args.cache.pages, row)));
      }
      StoreRow(Attend(LoadRow(args.q.Columns(head * stride, width), token), args.scale, length,
                      [&](int64_t position) { return entries[position]; }),
               args.out.Columns(head * value_dims, value_dims), token);
    }
  }
}

}  // namespace baton::kernels
