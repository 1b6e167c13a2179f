#include "common/log/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/rotate_head.h"

namespace baton::kernels::cpu {
namespace {

template <typename T>
void RotateRows(DeviceContext& device, const RopeArgs& args) {
  device.ForEach(args.x.rows, args.x.rows * args.heads * args.dims * 4, [&](int64_t row, int) {
    const float* table = args.table.Row<float>(args.positions[row]);
    T* x = args.x.Row<T>(row);
    for (int64_t head = 0; head < args.heads; ++head) {
      RotateHead(table, args.dims, x + head * args.head_stride);
    }
  });
}

}  // namespace

void CpuOps::Rope(const RopeArgs& args) {
  BATON_CHECK(args.dims % 2 == 0 && args.table.columns == args.dims);
  BATON_CHECK(args.x.columns >= (args.heads - 1) * args.head_stride + args.dims);
  if (args.x.type == DataType::kBFloat16) {
    RotateRows<BFloat16>(device_, args);
  } else {
    RotateRows<float>(device_, args);
  }
}

}  // namespace baton::kernels::cpu
