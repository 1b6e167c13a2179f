#include <algorithm>

#include "common/log/check.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/product.h"

namespace baton::kernels::cpu {

void CpuOps::Linear(const LinearArgs& args) {
  const PanelWeight& weight = Unpack(args.weight);
  BATON_CHECK(args.x.columns == weight.k() && args.out.columns == weight.n() &&
              args.x.rows == args.out.rows)
      << args.x.rows << " x " << args.x.columns << " times " << weight.n() << " x " << weight.k();
  if (args.out.empty()) return;
  device_.scratch.Reset();
  const PreparedRows x = PrepareRows(device_, args.x, weight.row_form());
  const int64_t per_task = PanelsPerTask(device_, weight, args.x.rows);
  const int64_t num_tasks = (weight.num_panels() + per_task - 1) / per_task;
  device_.ForEach(num_tasks, weight.n() * weight.k() * args.x.rows, [&](int64_t task, int thread) {
    const int64_t begin = task * per_task;
    const int64_t end = std::min(begin + per_task, weight.num_panels());
    const TensorView out = args.out.Columns(begin * kPanelColumns, NumColumns(weight, begin, end));
    MultiplyPanels(device_, thread, {x, nullptr, &weight, begin, end, out});
  });
}

void CpuOps::HeadwiseLinear(const HeadwiseLinearArgs& args) {
  const int64_t heads = static_cast<int64_t>(args.weights.size());
  if (heads == 0 || args.x.rows == 0) return;
  BATON_CHECK(args.x.rows == args.out.rows);
  device_.scratch.Reset();
  const int64_t k = args.weights[0]->k();
  const int64_t n = args.weights[0]->n();
  const int64_t stride = args.x_head_stride == 0 ? k : args.x_head_stride;
  const auto input = [&](int64_t head) { return args.x.Columns(head * stride, k); };
  // Rows that need no copy are read in place; others are all prepared before the tasks start.
  PreparedRows* prepared = device_.scratch.Take<PreparedRows>(heads);
  for (int64_t head = 0; head < heads; ++head) {
    const PanelWeight& weight = Unpack(args.weights[head]);
    BATON_CHECK(weight.k() == k && weight.n() == n) << "head " << head;
    prepared[head] = PrepareRows(device_, input(head), weight.row_form());
  }
  device_.ForEach(heads, heads * n * k * args.x.rows, [&](int64_t head, int thread) {
    const PanelWeight& weight = Unpack(args.weights[head]);
    MultiplyPanels(
        device_, thread,
        {prepared[head], nullptr, &weight, 0, weight.num_panels(), args.out.Columns(head * n, n)});
  });
}

}  // namespace baton::kernels::cpu
