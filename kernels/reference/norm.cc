#include <cmath>

#include "kernels/reference/reference_ops.h"
#include "kernels/reference/rows.h"

namespace baton::kernels {
namespace {

std::vector<float> Normalize(std::vector<float> x, const float* weight, float epsilon) {
  // One after the other: in float32 the sum of 7168 squares alone would be off by most of the 1e-6
  // that others are allowed against it.
  double sum = 0.0;
  for (float value : x) sum += double{value} * double{value};
  const auto inverse =
      static_cast<float>(1.0 / std::sqrt(sum / static_cast<double>(x.size()) + double{epsilon}));
  for (size_t i = 0; i < x.size(); ++i) x[i] = x[i] * inverse * weight[i];
  return x;
}

}  // namespace

void ReferenceOps::RmsNorm(const RmsNormArgs& args) {
  BATON_CHECK(args.weight.columns == args.x.columns);
  for (int64_t row = 0; row < args.x.rows; ++row) {
    StoreRow(Normalize(LoadRow(args.x, row), args.weight.Row<float>(0), args.epsilon), args.out,
             row);
  }
}

void ReferenceOps::AddRmsNorm(const AddRmsNormArgs& args) {
  Add({args.residual, args.delta, args.residual});
  RmsNorm({args.residual, args.weight, args.epsilon, args.out});
}

void ReferenceOps::Add(const AddArgs& args) {
  BATON_CHECK(args.delta.columns == args.residual.columns && args.delta.rows == args.residual.rows);
  for (int64_t row = 0; row < args.residual.rows; ++row) {
    std::vector<float> sum = LoadRow(args.residual, row);
    const float* delta = args.delta.Row<float>(row);
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += delta[i];
    StoreRow(sum, args.out, row);
  }
}

}  // namespace baton::kernels
