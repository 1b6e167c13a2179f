// The least time that operations of one of eight ranks of DeepSeek-R1 can take on a H200: that of
// the bytes that they must move, each once, or of their arithmetic.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/tensor/data_type.h"

namespace baton::kernels {

// H200: measured copy rate; products of FP8 and bfloat16 at their nominal and measured rates.
inline constexpr double kBytesPerMicrosecond = 4.3e6;
inline constexpr double kFloat8OpsPerMicrosecond = 1.5e9;
inline constexpr double kBFloat16OpsPerMicrosecond = 7.9e8;

// What one of eight ranks has of DeepSeek-R1.
struct RankShape {
  int64_t hidden = 7168;
  int64_t q_lora = 1536;
  int64_t latent = 512;
  int64_t rope = 64;
  int64_t heads = 16;
  int64_t head_dims = 192;  // of a query: 128 and the rotary 64
  int64_t value_dims = 128;
  int64_t expert_width = 256;  // inner width of an expert
  int64_t experts = 256;
  int64_t top_k = 8;
  int64_t vocabulary = 16160;
  int64_t ranks = 8;
};
inline constexpr RankShape kRank;

struct Floor {
  double bytes = 0.0;
  double operations = 0.0;
  double rate = kFloat8OpsPerMicrosecond;  // operations per microsecond

  double microseconds() const { return std::max(bytes / kBytesPerMicrosecond, operations / rate); }
};

// x W^T of bfloat16 rows; FP8 weights carry a scale per 128 x 128. `heads` weights of [n, k] each.
Floor LinearFloor(DataType type, int64_t n, int64_t k, int64_t rows, DataType out_type,
                  int64_t heads = 1);
// Rows in bfloat16, `delta` of the addition in float32.
Floor NormFloor(int64_t rows, int64_t columns);
Floor AddNormFloor(int64_t rows, int64_t columns);
Floor AddFloor(int64_t rows, int64_t columns);
// bfloat16 to E4M3, a scale per 128.
Floor QuantiseFloor(int64_t rows, int64_t columns);
Floor RopeFloor(int64_t rows, int64_t heads);
Floor KvWriteFloor(int64_t rows);
Floor EmbedFloor(int64_t rows);
// Choice of experts from logits.
Floor RouterFloor(int64_t rows);
// A draw looks at a row's logits once at least.
Floor DrawFloor(int64_t rows, int64_t vocabulary);
// Latent attention: rows of sequences with `context` keys each, or one sequence's first rows.
Floor DecodeAttentionFloor(int64_t rows, int64_t context);
Floor PrefillAttentionFloor(int64_t rows);
// Parts of all ranks on one device.
Floor SumFloor(int64_t rows, int64_t columns);
Floor GatherFloor(int64_t rows, int64_t columns);

// Distinct routed experts that `rows` rows choose, if each chooses any with equal chance.
double DistinctExperts(int64_t rows);
// A layer of experts, `distinct` routed ones read; with the shared one.
Floor ScheduleFloor(int64_t rows);
Floor ExpertGateUpFloor(int64_t rows, double distinct, bool shared = true);
Floor ExpertDownFloor(int64_t rows, double distinct, bool shared = true);
Floor ExpertCombineFloor(int64_t rows);
// All of it: what goes from one launch to the next not counted.
Floor ExpertsFloor(int64_t rows, double distinct);

}  // namespace baton::kernels
