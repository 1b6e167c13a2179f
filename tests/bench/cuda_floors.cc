#include "tests/bench/cuda_floors.h"

#include <cmath>

namespace baton::kernels {
namespace {

constexpr int64_t kScaleColumns = 128;  // that share a scale, along rows too in weights

double Bytes(int64_t count, int64_t each) { return static_cast<double>(count * each); }

double WeightBytes(DataType type, int64_t n, int64_t k) {
  const double values = Bytes(n * k, static_cast<int64_t>(SizeOf(type)));
  if (type != DataType::kFloat8E4M3) return values;
  const auto blocks = [](int64_t size) { return (size + kScaleColumns - 1) / kScaleColumns; };
  return values + Bytes(blocks(n) * blocks(k), 4);
}

// Rows of an expert's product: routed slots, and every row for the shared one.
int64_t ExpertRows(int64_t rows, bool shared) { return rows * (kRank.top_k + (shared ? 1 : 0)); }

double CodeBytes(int64_t rows, int64_t columns) {
  return Bytes(rows * columns, 1) + Bytes(rows * (columns / kScaleColumns), 4);
}

}  // namespace

Floor LinearFloor(DataType type, int64_t n, int64_t k, int64_t rows, DataType out_type,
                  int64_t heads) {
  const double moved =
      static_cast<double>(heads) * (WeightBytes(type, n, k) + Bytes(rows * k, 2) +
                                    Bytes(rows * n, static_cast<int64_t>(SizeOf(out_type))));
  const double operations = 2.0 * static_cast<double>(heads * rows * n) * static_cast<double>(k);
  return {moved, operations,
          type == DataType::kFloat8E4M3 ? kFloat8OpsPerMicrosecond : kBFloat16OpsPerMicrosecond};
}

Floor NormFloor(int64_t rows, int64_t columns) { return {Bytes(rows * columns, 2 + 2)}; }

Floor AddNormFloor(int64_t rows, int64_t columns) { return {Bytes(rows * columns, 2 + 4 + 2 + 2)}; }

Floor AddFloor(int64_t rows, int64_t columns) { return {Bytes(rows * columns, 2 + 4 + 2)}; }

Floor QuantiseFloor(int64_t rows, int64_t columns) {
  return {Bytes(rows * columns, 2) + CodeBytes(rows, columns)};
}

Floor RopeFloor(int64_t rows, int64_t heads) {
  return {Bytes(rows * heads * kRank.rope, 2 + 2) + Bytes(rows * kRank.rope, 4)};
}

Floor KvWriteFloor(int64_t rows) { return {Bytes(rows * (kRank.latent + kRank.rope), 2 + 2)}; }

Floor EmbedFloor(int64_t rows) { return {Bytes(rows * kRank.hidden, 2 + 4)}; }

Floor RouterFloor(int64_t rows) {
  return {Bytes(rows * kRank.experts, 4) + Bytes(rows * kRank.top_k, 4 + 4)};
}

Floor DrawFloor(int64_t rows, int64_t vocabulary) { return {Bytes(rows * vocabulary, 4)}; }

Floor DecodeAttentionFloor(int64_t rows, int64_t context) {
  const int64_t width = kRank.latent + kRank.rope;
  const double moved =
      Bytes(rows * context * width, 2) + Bytes(rows * kRank.heads * (width + kRank.latent), 2);
  const double operations =
      2.0 * static_cast<double>(rows * context * kRank.heads * (width + kRank.latent));
  return {moved, operations, kBFloat16OpsPerMicrosecond};
}

Floor PrefillAttentionFloor(int64_t rows) {
  const int64_t width = kRank.latent + kRank.rope;
  const double moved =
      Bytes(rows * width, 2) + Bytes(rows * kRank.heads * (width + kRank.latent), 2);
  const double seen = static_cast<double>(rows) * static_cast<double>(rows + 1) / 2.0;
  const double operations = 2.0 * seen * static_cast<double>(kRank.heads * (width + kRank.latent));
  return {moved, operations, kBFloat16OpsPerMicrosecond};
}

Floor SumFloor(int64_t rows, int64_t columns) {
  return {Bytes(rows * columns, 4) * static_cast<double>(kRank.ranks + 1)};
}

Floor GatherFloor(int64_t rows, int64_t columns) {
  return {Bytes(rows * columns, 4 + 4) * static_cast<double>(kRank.ranks)};
}

double DistinctExperts(int64_t rows) {
  const auto experts = static_cast<double>(kRank.experts);
  const double missed = 1.0 - static_cast<double>(kRank.top_k) / experts;
  return experts * (1.0 - std::pow(missed, static_cast<double>(rows)));
}

Floor ScheduleFloor(int64_t rows) {
  return {Bytes(rows * kRank.top_k, 4) + Bytes(ExpertRows(rows, true), 4)};
}

Floor ExpertGateUpFloor(int64_t rows, double distinct, bool shared) {
  const double read = distinct + (shared ? 1.0 : 0.0);
  const int64_t pairs = ExpertRows(rows, shared);
  const double moved =
      read * WeightBytes(DataType::kFloat8E4M3, 2 * kRank.expert_width, kRank.hidden) +
      CodeBytes(rows, kRank.hidden) + CodeBytes(pairs, kRank.expert_width);
  return {moved, 4.0 * static_cast<double>(pairs * kRank.expert_width * kRank.hidden)};
}

Floor ExpertDownFloor(int64_t rows, double distinct, bool shared) {
  const double read = distinct + (shared ? 1.0 : 0.0);
  const int64_t pairs = ExpertRows(rows, shared);
  const double moved = read * WeightBytes(DataType::kFloat8E4M3, kRank.hidden, kRank.expert_width) +
                       CodeBytes(pairs, kRank.expert_width) + Bytes(pairs * kRank.hidden, 4);
  return {moved, 2.0 * static_cast<double>(pairs * kRank.expert_width * kRank.hidden)};
}

Floor ExpertCombineFloor(int64_t rows) {
  return {Bytes(ExpertRows(rows, true) * kRank.hidden, 4) + Bytes(rows * kRank.hidden, 4)};
}

Floor ExpertsFloor(int64_t rows, double distinct) {
  const double weights =
      (distinct + 1.0) * (WeightBytes(DataType::kFloat8E4M3, 2 * kRank.expert_width, kRank.hidden) +
                          WeightBytes(DataType::kFloat8E4M3, kRank.hidden, kRank.expert_width));
  const double operations =
      6.0 * static_cast<double>(ExpertRows(rows, true) * kRank.expert_width * kRank.hidden);
  return {weights + Bytes(rows * kRank.hidden, 2 + 4), operations};
}

}  // namespace baton::kernels
