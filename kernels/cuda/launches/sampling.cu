#include "kernels/api/sampling.h"
#include "kernels/cuda/launches/draw_order.cuh"
#include "kernels/cuda/launches/planned_launch.cuh"
#include "kernels/cuda/launches/sampling.h"

namespace baton::kernels::cuda {
namespace {

// One block per row; steps are numbered as in kernels/api/sampling.h.

__device__ Steps<int32_t> OwnTokens(int32_t vocabulary) {
  return TokensOfThread(static_cast<int>(threadIdx.x), vocabulary);
}
__device__ Steps<int32_t> OwnEntries(int32_t begin, int32_t end) {
  return EntriesOfThread(static_cast<int>(threadIdx.x), begin, end);
}

// Whether all of the row's logits are finite; the same in all threads.
__device__ bool AllFinite(const float* logits, int32_t vocabulary) {
  bool finite = true;
  for (const int32_t id : OwnTokens(vocabulary)) {
    finite = finite && isfinite(logits[id]);
  }
  return __syncthreads_and(finite) != 0;
}

// Which tokens may be drawn, one bit each.
__device__ void MarkAllowed(const DrawLaunch& launch, const DrawParams& row, uint32_t* kept) {
  const bool all = row.allowed_begin == row.allowed_end;
  for (const int32_t word : OwnEntries(0, MarkWords(launch.vocabulary))) {
    kept[word] = all ? 0xffffffffu : 0u;
  }
  __syncthreads();
  for (const int32_t i : OwnEntries(row.allowed_begin, row.allowed_end)) {
    const uint32_t id = launch.tokens[i];
    const TokenMark mark = MarkOf(id);
    if (id < static_cast<uint32_t>(launch.vocabulary)) atomicOr(&kept[mark.word], mark.bit);
  }
  __syncthreads();
  for (const int32_t i : OwnEntries(row.masked_begin, row.masked_end)) {
    const uint32_t id = launch.tokens[i];
    const TokenMark mark = MarkOf(id);
    if (id < static_cast<uint32_t>(launch.vocabulary)) atomicAnd(&kept[mark.word], ~mark.bit);
  }
  __syncthreads();
}

// Steps 1 and 2; tokens that dropped out become -infinity.
__device__ void MakeValues(const DrawLaunch& launch, const DrawParams& row, const float* logits,
                           const uint32_t* kept, float* values) {
  for (const int32_t id : OwnTokens(launch.vocabulary)) {
    values[id] = logits[id];
  }
  __syncthreads();
  for (const int32_t i : OwnEntries(row.edit_begin, row.edit_end)) {
    const DrawEdit edit = launch.edits[i];
    if (edit.token_id >= static_cast<uint32_t>(launch.vocabulary)) continue;
    float value = values[edit.token_id];
    for (int32_t b = edit.bias_begin; b < edit.bias_end; ++b) value += launch.biases[b];
    if (edit.was_seen != 0) {
      value = value > 0.0f ? value / row.repetition_penalty : value * row.repetition_penalty;
    }
    if (edit.answer_count > 0) {
      value -= row.frequency_penalty * static_cast<float>(edit.answer_count);
      value -= row.presence_penalty;
    }
    values[edit.token_id] = value;
  }
  __syncthreads();
  for (const int32_t id : OwnTokens(launch.vocabulary)) {
    const TokenMark mark = MarkOf(static_cast<uint32_t>(id));
    const bool stays = (kept[mark.word] & mark.bit) != 0;
    values[id] =
        stays ? fminf(fmaxf(values[id], -math::kLargestLogit), math::kLargestLogit) : -INFINITY;
  }
  __syncthreads();
}

__device__ BestToken BestValue(const float* values, int32_t vocabulary, DrawShared& shared) {
  BestToken best;
  for (const int32_t id : OwnTokens(vocabulary)) {
    const BestToken other = {values[id], static_cast<uint32_t>(id)};
    if (other.value != -INFINITY && other.Beats(best)) best = other;
  }
  return BestOfBlock(best, shared);
}

// Step 4; returns how many tokens take part.
__device__ uint32_t Scale(float temperature, float best, int32_t vocabulary, float* values,
                          DrawShared& shared) {
  const float largest = best / temperature;
  unsigned long long count = 0;
  for (const int32_t id : OwnTokens(vocabulary)) {
    if (values[id] == -INFINITY) continue;
    values[id] = values[id] / temperature - largest;
    ++count;
  }
  return static_cast<uint32_t>(SumOfBlockMass(count, shared));
}

// Steps 5 and 6.
__device__ DrawCut CutRow(const DrawParams& row, const float* values, int32_t vocabulary,
                          uint32_t count, DrawShared& shared) {
  const auto at = [values](int32_t id) { return values[id]; };
  DrawCut cut;
  if (row.top_k > 0 && row.top_k < count) cut = CutByCount(at, vocabulary, row.top_k, shared);
  if (row.top_p >= 1.0f) return cut;
  unsigned long long mass = 0;
  for (const int32_t id : OwnTokens(vocabulary)) {
    const bool stays =
        values[id] != -INFINITY && cut.Keeps(OrderKey(values[id]), static_cast<uint32_t>(id));
    if (stays) mass += SoftmaxMass(values[id]);
  }
  const uint64_t total = SumOfBlockMass(mass, shared);
  const double limit = static_cast<double>(row.top_p) * static_cast<double>(total);
  return CutByMass(at, vocabulary, limit, cut, shared);
}

// Steps 7 and 8.
__device__ uint32_t DrawToken(const DrawParams& row, const float* values, int32_t vocabulary,
                              const DrawCut& cut, DrawShared& shared) {
  BestToken best;
  for (const int32_t id : OwnTokens(vocabulary)) {
    const float value = values[id];
    if (value == -INFINITY || !cut.Keeps(OrderKey(value), static_cast<uint32_t>(id))) continue;
    if (row.min_p > 0.0f && ExpNonPositive(value) < row.min_p) continue;
    const float noisy = value + GumbelNoise(row.seed, row.position, static_cast<uint32_t>(id));
    const BestToken other = {noisy, static_cast<uint32_t>(id)};
    if (other.Beats(best)) best = other;
  }
  return BestOfBlock(best, shared).id;
}

// Rank and masses of a token among the raw logits, and the num_top best.
__device__ void ScoreToken(const float* logits, int32_t vocabulary, uint32_t token_id,
                           int32_t num_top, TopToken* tops, DrawOutcome& outcome,
                           DrawShared& shared) {
  const float largest = BestValue(logits, vocabulary, shared).value;
  const BestToken token = {logits[token_id], token_id};
  unsigned long long mass = 0;
  unsigned long long better = 0;
  for (const int32_t id : OwnTokens(vocabulary)) {
    mass += SoftmaxMass(logits[id] - largest);
    const BestToken other = {logits[id], static_cast<uint32_t>(id)};
    if (other.Beats(token)) ++better;
  }
  mass = SumOfBlockMass(mass, shared);
  better = SumOfBlockMass(better, shared);
  if (threadIdx.x == 0) {
    outcome.logit = token.value;
    outcome.rank = static_cast<uint32_t>(better) + 1;
    outcome.largest = largest;
    outcome.total_mass = mass;
    outcome.num_top = num_top;
    shared.num_top = 0;
  }
  if (num_top == 0) return;
  const auto at = [logits](int32_t id) { return logits[id]; };
  const DrawCut cut = CutByCount(at, vocabulary, static_cast<uint32_t>(num_top), shared);
  for (const int32_t id : OwnTokens(vocabulary)) {
    if (!cut.Keeps(OrderKey(logits[id]), static_cast<uint32_t>(id))) continue;
    tops[atomicAdd(&shared.num_top, 1u)] = {static_cast<uint32_t>(id), logits[id]};
  }
}

__global__ void __launch_bounds__(kDrawThreads) DrawKernel(DrawLaunch launch) {
  __shared__ DrawShared shared;
  const int64_t r = blockIdx.x;
  const DrawParams row = launch.rows[r];
  const int32_t vocabulary = launch.vocabulary;
  const float* logits = launch.logits + r * launch.logits_stride;
  float* values = launch.values + r * vocabulary;
  uint32_t* kept = launch.kept + r * MarkWords(vocabulary);
  DrawOutcome& outcome = launch.outcomes[r];
  if (threadIdx.x == 0) outcome = DrawOutcome();
  if (!AllFinite(logits, vocabulary)) {
    if (threadIdx.x == 0) outcome.finite = 0;
    return;
  }
  MarkAllowed(launch, row, kept);
  MakeValues(launch, row, logits, kept, values);
  const BestToken best = BestValue(values, vocabulary, shared);
  uint32_t token_id = best.id;
  if (best.id != kNoToken && row.temperature >= kGreedyTemperature) {
    const uint32_t count = Scale(row.temperature, best.value, vocabulary, values, shared);
    const DrawCut cut = CutRow(row, values, vocabulary, count, shared);
    token_id = DrawToken(row, values, vocabulary, cut, shared);
  }
  if (threadIdx.x == 0) outcome.token_id = token_id;
  if (row.scores == 0 || token_id == kNoToken) return;
  ScoreToken(logits, vocabulary, token_id, row.num_top, launch.tops + r * launch.most_top, outcome,
             shared);
}

__global__ void __launch_bounds__(kDrawThreads)
    ScoreKernel(DrawLaunch launch, const uint32_t* targets, int32_t num_top) {
  __shared__ DrawShared shared;
  const int64_t r = blockIdx.x;
  const float* logits = launch.logits + r * launch.logits_stride;
  DrawOutcome& outcome = launch.outcomes[r];
  if (threadIdx.x == 0) {
    outcome = DrawOutcome();
    outcome.token_id = targets[r];
  }
  if (!AllFinite(logits, launch.vocabulary)) {
    if (threadIdx.x == 0) outcome.finite = 0;
    return;
  }
  ScoreToken(logits, launch.vocabulary, targets[r], num_top, launch.tops + r * launch.most_top,
             outcome, shared);
}

}  // namespace

void LaunchDraws(const DrawLaunch& launch, cudaStream_t stream) {
  LaunchPlanned("Sample", DrawKernel, DrawRowsLaunch(launch.num_rows), stream, launch);
}

void LaunchScores(const DrawLaunch& launch, const uint32_t* targets, int32_t num_top,
                  cudaStream_t stream) {
  LaunchPlanned("ScoreTokens", ScoreKernel, DrawRowsLaunch(launch.num_rows), stream, launch,
                targets, num_top);
}

}  // namespace baton::kernels::cuda
