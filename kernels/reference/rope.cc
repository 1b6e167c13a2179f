#include "kernels/reference/reference_ops.h"
#include "kernels/reference/rows.h"

namespace baton::kernels {

void ReferenceOps::Rope(const RopeArgs& args) {
  BATON_CHECK(args.dims % 2 == 0 && args.table.columns == args.dims);
  for (int64_t row = 0; row < args.x.rows; ++row) {
    const float* table = args.table.Row<float>(args.positions[row]);
    for (int64_t head = 0; head < args.heads; ++head) {
      const TensorView pairs = args.x.Columns(head * args.head_stride, args.dims);
      std::vector<float> x = LoadRow(pairs, row);
      for (int64_t i = 0; i < args.dims; i += 2) {
        const float cosine = table[i];
        const float sine = table[i + 1];
        const float a = x[i];
        const float b = x[i + 1];
        x[i] = a * cosine - b * sine;
        x[i + 1] = a * sine + b * cosine;
      }
      StoreRow(x, pairs, row);
    }
  }
}

}  // namespace baton::kernels
