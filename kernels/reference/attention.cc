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
  std::vector<float> latent;
};

struct Query {
  std::vector<float> latent;
  std::vector<float> rope;
};

float Score(const Query& query, const std::vector<float>& entry) {
  float score = 0.0f;
  for (size_t i = 0; i < query.latent.size(); ++i) score += query.latent[i] * entry[i];
  for (size_t i = 0; i < query.rope.size(); ++i) {
    score += query.rope[i] * entry[query.latent.size() + i];
  }
  return score;
}

// The split of positions [begin, end) of the row's sequence.
PartialSum AttendSplit(const MlaAttentionArgs& args, const Query& query, int64_t token,
                       int64_t begin, int64_t end) {
  std::vector<std::vector<float>> entries;
  std::vector<float> scores;
  PartialSum sum;
  for (int64_t position = begin; position < end; ++position) {
    entries.push_back(LoadRow(args.cache.pages, CacheRow(args.layout, token, position)));
    scores.push_back(Score(query, entries.back()) * args.scale);
    sum.maximum = std::max(sum.maximum, scores.back());
  }
  sum.latent.resize(query.latent.size());
  for (size_t j = 0; j < entries.size(); ++j) {
    const float probability = std::exp(scores[j] - sum.maximum);
    sum.total += probability;
    for (size_t i = 0; i < sum.latent.size(); ++i) sum.latent[i] += probability * entries[j][i];
  }
  return sum;
}

void Combine(const PartialSum& split, PartialSum* sum) {
  const float maximum = std::max(sum->maximum, split.maximum);
  const float old_factor = std::exp(sum->maximum - maximum);
  const float new_factor = std::exp(split.maximum - maximum);
  sum->maximum = maximum;
  sum->total = sum->total * old_factor + split.total * new_factor;
  for (size_t i = 0; i < sum->latent.size(); ++i) {
    sum->latent[i] = sum->latent[i] * old_factor + split.latent[i] * new_factor;
  }
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
    const int64_t length = args.layout.positions[token] + 1;
    for (int64_t head = 0; head < args.heads; ++head) {
      const Query query = {LoadRow(args.q_latent.Columns(head * latent_dims, latent_dims), token),
                           LoadRow(args.q_rope.Columns(head * rope_stride, rope_dims), token)};
      PartialSum sum;
      sum.latent.resize(latent_dims);
      for (int64_t begin = 0; begin < length; begin += kAttentionSplitTokens) {
        const int64_t end = std::min(length, begin + kAttentionSplitTokens);
        Combine(AttendSplit(args, query, token, begin, end), &sum);
      }
      for (float& value : sum.latent) value /= sum.total;
      StoreRow(sum.latent, args.out.Columns(head * latent_dims, latent_dims), token);
    }
  }
}

}  // namespace baton::kernels
