// Steps of latent attention at the widths of R1 (latent 512, rotary 64): what every backend runs,
// and by which kernels/cuda's plan is held to have been tried in all its ways
// (tests/unit/kernels/cuda/mla_plan_test.cc).
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace baton::kernels {

struct LatentAttentionCase {
  std::string name;
  int heads = 1;
  // Of each row, as StepLayout; -1 is padding, whose queries are NaN.
  std::vector<int32_t> positions;
  std::vector<int32_t> sequence_rows;
  // The same step again in pieces of as many rows each: the same bits.
  std::vector<int> pieces;
  bool for_gpus = false;  // too much work for the others

  void Add(int32_t sequence, int32_t begin, int32_t end) {
    for (int32_t position = begin; position < end; ++position) {
      positions.push_back(position);
      sequence_rows.push_back(sequence);
    }
  }
  int rows() const { return static_cast<int>(positions.size()); }
  int sequences() const {
    return 1 + *std::max_element(sequence_rows.begin(), sequence_rows.end());
  }
};

// Decoding: one row each of sequences that end around the borders of blocks (64) and splits (512).
inline LatentAttentionCase DecodingCase(int heads, bool for_gpus) {
  LatentAttentionCase step = {.name = "decoding", .heads = heads, .for_gpus = for_gpus};
  const std::vector<int32_t> all = {0,   62,  63,  64,  127,  128,  191,
                                    192, 511, 512, 513, 1023, 1024, 1600};
  const std::vector<int32_t> few = {0, 63, 64, 192, 513};
  int32_t sequence = 0;
  for (const int32_t last : for_gpus || heads <= 8 ? all : few) {
    step.Add(sequence++, last, last + 1);
  }
  return step;
}

// Several rows of a sequence, from an odd row of the step on, over the end of a block and of a
// split; a sequence of one row before, between and behind them.
inline LatentAttentionCase RunsCase(int heads) {
  LatentAttentionCase step = {.name = "runs", .heads = heads, .pieces = {1}};
  step.Add(0, 5, 6);
  step.Add(1, 59, 69);
  step.Add(2, 130, 131);
  step.Add(3, 60, 64);
  step.Add(4, 506, 519);
  step.Add(5, 64, 65);
  return step;
}

inline LatentAttentionCase PaddedCase(int heads) {
  LatentAttentionCase step = {.name = "padded", .heads = heads, .pieces = {1}};
  step.Add(-1, 0, 3);
  step.Add(0, 62, 65);
  step.Add(-1, 0, 1);
  step.Add(1, 511, 513);
  step.Add(-1, 0, 5);
  step.Add(2, 0, 1);
  step.Add(-1, 0, 2);
  return step;
}

// More rows than run as splits side by side, in pieces that do. Most sequences begin at `first`.
inline LatentAttentionCase PrefillCase(int heads, int32_t first, bool for_gpus) {
  LatentAttentionCase step = {
      .name = "prefill", .heads = heads, .pieces = {1024, 333}, .for_gpus = for_gpus};
  for (int32_t sequence = 0; sequence < 24; ++sequence) step.Add(sequence, first, first + 40);
  step.Add(24, 490, 531);
  step.Add(-1, 0, 24);
  return step;
}

// More pairs of a tile and a split than a device has multiprocessors.
inline LatentAttentionCase ManySplitsCase(int heads, bool for_gpus) {
  LatentAttentionCase step = {.name = "many splits", .heads = heads, .for_gpus = for_gpus};
  for (int32_t sequence = 0; sequence < 40; ++sequence) {
    step.Add(sequence, 2048 + sequence, 2049 + sequence);
  }
  return step;
}

inline std::vector<LatentAttentionCase> LatentAttentionCases() {
  std::vector<LatentAttentionCase> cases;
  for (const int heads : {2, 8, 12, 16, 32, 128}) {
    cases.push_back(DecodingCase(heads, false));
    if (heads > 8) cases.push_back(DecodingCase(heads, true));
  }
  for (const int heads : {2, 4, 8}) cases.push_back(RunsCase(heads));
  for (const int heads : {2, 16, 32}) cases.push_back(PaddedCase(heads));
  cases.push_back(PrefillCase(2, 30, false));
  for (const int heads : {8, 32}) cases.push_back(PrefillCase(heads, 30, true));
  cases.push_back(PrefillCase(64, 0, true));
  cases.push_back(ManySplitsCase(2, false));
  for (const int heads : {16, 32}) cases.push_back(ManySplitsCase(heads, true));
  return cases;
}

}  // namespace baton::kernels
