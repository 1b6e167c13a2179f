#include <cmath>

#include "kernels/reference/reference_ops.h"
#include "kernels/reference/rows.h"

namespace baton::kernels {
namespace {

std::vector<float> Apply(const FeedForwardWeights& weights, DataType compute_type,
                         const std::vector<float>& x) {
  BATON_CHECK(weights.gate != nullptr && weights.up != nullptr && weights.down != nullptr);
  std::vector<float> inner = static_cast<const ReferenceWeight*>(weights.gate)->Product(x);
  const std::vector<float> up = static_cast<const ReferenceWeight*>(weights.up)->Product(x);
  for (size_t i = 0; i < inner.size(); ++i) {
    const float silu = inner[i] / (1.0f + std::exp(-inner[i]));
    inner[i] = RoundTo(compute_type, silu * up[i]);
  }
  return static_cast<const ReferenceWeight*>(weights.down)->Product(inner);
}

}  // namespace

void ReferenceOps::FeedForward(const FeedForwardArgs& args) {
  for (int64_t row = 0; row < args.x.rows; ++row) {
    StoreRow(Apply(args.weights, args.x.type, LoadRow(args.x, row)), args.out, row);
  }
}

void ReferenceOps::Experts(const ExpertsArgs& args) {
  for (int64_t row = 0; row < args.x.rows; ++row) {
    const std::vector<float> x = LoadRow(args.x, row);
    std::vector<float> sum(args.out.columns);
    for (int64_t slot = row * args.top_k; slot < (row + 1) * args.top_k; ++slot) {
      if (args.experts[slot] < 0) continue;
      const FeedForwardWeights& expert = args.expert_weights[args.experts[slot]];
      const std::vector<float> y = Apply(expert, args.x.type, x);
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += args.slot_weights[slot] * y[i];
    }
    if (args.shared.gate != nullptr) {
      const std::vector<float> y = Apply(args.shared, args.x.type, x);
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += y[i];
    }
    StoreRow(sum, args.out, row);
  }
}

}  // namespace baton::kernels
