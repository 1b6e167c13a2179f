#include "common/log/check.h"
#include "kernels/cpu/cpu_ops.h"

namespace baton::kernels::cpu {
namespace {

// Elements per multiplication's worth of work: these rows are bound by memory.
constexpr int64_t kWorkPerElement = 2;

std::byte* RowBytes(const TensorView& view, int64_t row) {
  return static_cast<std::byte*>(view.data) + row * view.row_stride * SizeOf(view.type);
}

bool SameShape(const TensorView& a, const TensorView& b) {
  return a.rows == b.rows && a.columns == b.columns;
}

void NormRows(DeviceContext& device, const TensorView& x, const TensorView* delta,
              const TensorView& weight, float epsilon, const TensorView& out) {
  BATON_CHECK(SameShape(x, out) && x.type == out.type && weight.columns == x.columns);
  BATON_CHECK(delta == nullptr || SameShape(*delta, x));
  const float* gains = weight.Row<float>(0);
  device.ForEach(x.rows, x.num_elements() * kWorkPerElement, [&](int64_t row, int) {
    const float* added = delta == nullptr ? nullptr : delta->Row<float>(row);
    device.kernels.norm({x.type == DataType::kBFloat16, RowBytes(x, row), added, gains, epsilon,
                         x.columns, RowBytes(out, row)});
  });
}

}  // namespace

void CpuOps::RmsNorm(const RmsNormArgs& args) {
  NormRows(device_, args.x, nullptr, args.weight, args.epsilon, args.out);
}

void CpuOps::AddRmsNorm(const AddRmsNormArgs& args) {
  NormRows(device_, args.residual, &args.delta, args.weight, args.epsilon, args.out);
}

void CpuOps::Add(const AddArgs& args) {
  BATON_CHECK(SameShape(args.residual, args.delta) && SameShape(args.residual, args.out) &&
              args.residual.type == args.out.type);
  const bool bfloat16 = args.out.type == DataType::kBFloat16;
  const int64_t work = args.out.num_elements() * kWorkPerElement;
  device_.ForEach(args.out.rows, work, [&](int64_t row, int) {
    device_.kernels.add(bfloat16, RowBytes(args.residual, row), args.delta.Row<float>(row),
                        args.out.columns, RowBytes(args.out, row));
  });
}

}  // namespace baton::kernels::cpu
