#include "common/log/check.h"
#include "kernels/cpu/cpu_ops.h"

namespace baton::kernels::cpu {
namespace {

// Work of one logit, in multiplications: exponentials, noise.
constexpr int64_t kWorkPerLogit = 20;

}  // namespace

void CpuOps::MakeRoomForDraws(int64_t vocabulary) {
  for (TokenSampler& sampler : samplers_) sampler.MakeRoom(vocabulary);
}

void CpuOps::Sample(const SampleArgs& args) {
  const int64_t vocabulary = args.logits.columns;
  BATON_CHECK(vocabulary > 0 && static_cast<int64_t>(args.rows.size()) == args.logits.rows &&
              args.results.size() == args.rows.size());
  if (device_.only_makes_room) return MakeRoomForDraws(vocabulary);
  const int64_t work = args.logits.num_elements() * kWorkPerLogit;
  device_.ForEach(args.logits.rows, work, [&](int64_t row, int thread) {
    samplers_[thread].Sample(args.logits.Row<float>(row), vocabulary, args.rows[row],
                             &args.results[row]);
  });
}

void CpuOps::ScoreTokens(const ScoreTokensArgs& args) {
  const int64_t vocabulary = args.logits.columns;
  BATON_CHECK(vocabulary > 0 && static_cast<int64_t>(args.targets.size()) == args.logits.rows &&
              args.results.size() == args.targets.size());
  if (device_.only_makes_room) return MakeRoomForDraws(vocabulary);
  const int64_t work = args.logits.num_elements() * kWorkPerLogit;
  device_.ForEach(args.logits.rows, work, [&](int64_t row, int thread) {
    samplers_[thread].Score(args.logits.Row<float>(row), vocabulary, args.targets[row],
                            args.num_top, &args.results[row]);
  });
}

}  // namespace baton::kernels::cpu
