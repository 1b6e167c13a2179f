#include <cstring>

#include "common/log/check.h"
#include "kernels/cpu/cpu_ops.h"

namespace baton::kernels::cpu {

void CpuOps::Embed(const EmbedArgs& args) {
  BATON_CHECK(args.table.columns == args.out.columns &&
              static_cast<int64_t>(args.token_ids.size()) == args.out.rows);
  for (int64_t t = 0; t < args.out.rows; ++t) {
    float* out = args.out.Row<float>(t);
    const int64_t row = int64_t{args.token_ids[t]} - int64_t{args.vocabulary_begin};
    const size_t bytes = args.out.columns * sizeof(float);
    if (row < 0 || row >= args.table.rows) {
      std::memset(out, 0, bytes);
    } else if (args.table.type == DataType::kFloat32) {
      std::memcpy(out, args.table.Row<float>(row), bytes);
    } else {
      const BFloat16* values = args.table.Row<BFloat16>(row);
      device_.kernels.widen(reinterpret_cast<const uint16_t*>(values), args.out.columns, out);
    }
  }
}

}  // namespace baton::kernels::cpu
