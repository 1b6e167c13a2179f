#include "kernels/cuda/token_draws.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/log/check.h"
#include "kernels/api/reproducible_math.h"
#include "kernels/cuda/launches/sampling.h"
#include "kernels/cuda/plan/draw_plan.h"
#include "kernels/cuda/plan/draw_threads.h"

namespace baton::kernels::cuda {
namespace {

template <typename T>
size_t AlignedBytes(size_t count) {
  return DeviceScratch::Aligned(count * sizeof(T));
}

template <typename T>
const T* Upload(const std::vector<T>& host, DeviceScratch& scratch, PinnedRing& ring) {
  T* device = scratch.Cut<T>(static_cast<int64_t>(host.size()));
  ring.CopyToDevice(device, host.data(), host.size() * sizeof(T));
  return device;
}

TokenScore ScoreOf(uint32_t token_id, float logit, uint32_t rank, const DrawOutcome& outcome) {
  const double log_total = std::log(static_cast<double>(outcome.total_mass) / double{kMassOne});
  const double logprob = double{logit} - double{outcome.largest} - log_total;
  return {token_id, static_cast<float>(logprob), rank};
}

// Log-probabilities of what the device found; `tops` in no order.
void FinishScores(const DrawOutcome& outcome, TopToken* tops, SampleResult& result) {
  result.token = ScoreOf(outcome.token_id, outcome.logit, outcome.rank, outcome);
  std::sort(tops, tops + outcome.num_top, [](const TopToken& a, const TopToken& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token_id < b.token_id;
  });
  result.top.clear();
  for (int32_t i = 0; i < outcome.num_top; ++i) {
    result.top.push_back(
        ScoreOf(tops[i].token_id, tops[i].logit, static_cast<uint32_t>(i) + 1, outcome));
  }
}

// Cuts what both kinds of launch write.
DrawLaunch LaunchFor(const TensorView& logits, int32_t most_top, DeviceScratch& scratch) {
  DrawLaunch launch;
  launch.logits = static_cast<const float*>(logits.data);
  launch.logits_stride = logits.row_stride;
  launch.vocabulary = static_cast<int32_t>(logits.columns);
  launch.num_rows = static_cast<int32_t>(logits.rows);
  launch.most_top = most_top;
  launch.outcomes = scratch.Cut<DrawOutcome>(logits.rows);
  launch.tops = scratch.Cut<TopToken>(logits.rows * most_top);
  return launch;
}

size_t OutcomeBytes(size_t rows, int32_t most_top) {
  return AlignedBytes<DrawOutcome>(rows) +
         AlignedBytes<TopToken>(rows * static_cast<size_t>(most_top));
}

struct HostOutcomes {
  HostOutcomes(const DrawLaunch& launch, PinnedRing& ring)
      : outcomes(static_cast<size_t>(launch.num_rows)),
        tops(outcomes.size() * static_cast<size_t>(launch.most_top)) {
    ring.CopyToHost(outcomes.data(), launch.outcomes, outcomes.size() * sizeof(DrawOutcome));
    ring.CopyToHost(tops.data(), launch.tops, tops.size() * sizeof(TopToken));
  }

  std::vector<DrawOutcome> outcomes;
  std::vector<TopToken> tops;
};

// Rows of one launch.
void DrawRows(const SampleArgs& args, DeviceScratch& scratch, PinnedRing& ring,
              cudaStream_t stream) {
  const auto rows = static_cast<size_t>(args.logits.rows);
  const DrawPlan plan = PlanDraws(args.rows, args.logits.columns);
  const auto vocabulary = static_cast<size_t>(args.logits.columns);
  const auto words = static_cast<size_t>(MarkWords(static_cast<int32_t>(vocabulary)));
  const size_t list_bytes = AlignedBytes<DrawEdit>(plan.edits.size()) +
                            AlignedBytes<float>(plan.biases.size()) +
                            AlignedBytes<uint32_t>(plan.tokens.size());
  const size_t list_room = ListRoom(args.logits.columns) + 3 * DeviceScratch::Aligned(1);
  scratch.Begin(AlignedBytes<DrawParams>(rows) + std::max(list_bytes, list_room) +
                AlignedBytes<float>(rows * vocabulary) + AlignedBytes<uint32_t>(rows * words) +
                OutcomeBytes(rows, plan.most_top));
  DrawLaunch launch = LaunchFor(args.logits, plan.most_top, scratch);
  launch.rows = Upload(plan.rows, scratch, ring);
  launch.edits = Upload(plan.edits, scratch, ring);
  launch.biases = Upload(plan.biases, scratch, ring);
  launch.tokens = Upload(plan.tokens, scratch, ring);
  launch.values = scratch.Cut<float>(static_cast<int64_t>(rows * vocabulary));
  launch.kept = scratch.Cut<uint32_t>(static_cast<int64_t>(rows * words));
  LaunchDraws(launch, stream);
  HostOutcomes host(launch, ring);
  for (size_t r = 0; r < rows; ++r) {
    const DrawOutcome& outcome = host.outcomes[r];
    SampleResult& result = args.results[r];
    result = {};
    result.finite = outcome.finite != 0;
    if (!result.finite) continue;
    BATON_CHECK(outcome.token_id != kNoToken) << "no token is allowed";
    result.token_id = outcome.token_id;
    if (args.rows[r].logprobs) {
      FinishScores(outcome, host.tops.data() + r * static_cast<size_t>(plan.most_top), result);
    }
  }
}

}  // namespace

void DrawTokens(const SampleArgs& args, DeviceScratch& scratch, PinnedRing& ring,
                cudaStream_t stream) {
  const int64_t rows = args.logits.rows;
  BATON_CHECK(static_cast<int64_t>(args.rows.size()) == rows &&
              static_cast<int64_t>(args.results.size()) == rows);
  for (int64_t begin = 0, count = 0; begin < rows; begin += count) {
    const auto at = static_cast<size_t>(begin);
    count = RowsOfLaunch(args.rows.subspan(at), args.logits.columns);
    DrawRows({args.logits.Rows(begin, count), args.rows.subspan(at, static_cast<size_t>(count)),
              args.results.subspan(at, static_cast<size_t>(count))},
             scratch, ring, stream);
  }
}

void ScoreTargets(const ScoreTokensArgs& args, DeviceScratch& scratch, PinnedRing& ring,
                  cudaStream_t stream) {
  const auto rows = static_cast<size_t>(args.logits.rows);
  BATON_CHECK(args.targets.size() == rows && args.results.size() == rows);
  if (rows == 0) return;
  const auto num_top = static_cast<int32_t>(std::min<int64_t>(args.num_top, args.logits.columns));
  scratch.Begin(AlignedBytes<uint32_t>(rows) + OutcomeBytes(rows, num_top));
  const DrawLaunch launch = LaunchFor(args.logits, num_top, scratch);
  const std::vector<uint32_t> targets(args.targets.begin(), args.targets.end());
  for (const uint32_t target : targets) BATON_CHECK(target < args.logits.columns) << target;
  LaunchScores(launch, Upload(targets, scratch, ring), num_top, stream);
  HostOutcomes host(launch, ring);
  for (size_t r = 0; r < rows; ++r) {
    SampleResult& result = args.results[r];
    result = {};
    result.token_id = args.targets[r];
    result.finite = host.outcomes[r].finite != 0;
    if (!result.finite) continue;
    FinishScores(host.outcomes[r], host.tops.data() + r * static_cast<size_t>(num_top), result);
  }
}

}  // namespace baton::kernels::cuda
