// Kernels that go once along a row: norms, additions, SiLU, widening.
#pragma once

#include "kernels/cpu/variants/simd_math.h"
#include "kernels/cpu/variants/variant_kernels.h"

namespace baton::kernels::cpu {
namespace {

struct Float32Row {
  using Element = float;
  static F32x16 Get(const float* p) { return Load(p); }
  static F32x16 GetPartial(const float* p, int64_t count) { return LoadPartial(p, count); }
  static void Put(float* p, F32x16 a) { Store(p, a); }
  static void PutPartial(float* p, F32x16 a, int64_t count) { StorePartial(p, a, count); }
  static F32x16 Round(F32x16 a) { return a; }
};
struct BFloat16Row {
  using Element = uint16_t;
  static F32x16 Get(const uint16_t* p) { return LoadBf16(p); }
  static F32x16 GetPartial(const uint16_t* p, int64_t count) { return LoadBf16Partial(p, count); }
  static void Put(uint16_t* p, F32x16 a) { StoreBf16(p, a); }
  static void PutPartial(uint16_t* p, F32x16 a, int64_t count) { StoreBf16Partial(p, a, count); }
  static F32x16 Round(F32x16 a) { return RoundBf16(a); }
};

// Calls step(i, 16) for each full vector and step(i, rest) for the last part.
template <typename Step>
inline void EachVector(int64_t width, Step step) {
  int64_t i = 0;
  for (; i + kPanelColumns <= width; i += kPanelColumns) step(i, kPanelColumns);
  if (i < width) step(i, width - i);
}

template <typename Row>
inline F32x16 GetLanes(const typename Row::Element* p, int64_t count) {
  return count == kPanelColumns ? Row::Get(p) : Row::GetPartial(p, count);
}
template <typename Row>
inline void PutLanes(typename Row::Element* p, F32x16 a, int64_t count) {
  count == kPanelColumns ? Row::Put(p, a) : Row::PutPartial(p, a, count);
}

template <typename Row>
void NormRow(const NormArgs& args) {
  auto* x = static_cast<typename Row::Element*>(args.x);
  auto* out = static_cast<typename Row::Element*>(args.out);
  F32x16 squares = Zero();
  EachVector(args.width, [&](int64_t i, int64_t count) {
    F32x16 value = GetLanes<Row>(x + i, count);
    if (args.delta != nullptr) {
      value = Row::Round(value + GetLanes<Float32Row>(args.delta + i, count));
      PutLanes<Row>(x + i, value, count);
    }
    squares = MultiplyAdd(value, value, squares);
  });
  const float mean = ReduceAdd(squares) / static_cast<float>(args.width);
  const F32x16 inverse = Set(1.0f / __builtin_sqrtf(mean + args.epsilon));
  EachVector(args.width, [&](int64_t i, int64_t count) {
    const F32x16 weight = GetLanes<Float32Row>(args.weight + i, count);
    PutLanes<Row>(out + i, GetLanes<Row>(x + i, count) * inverse * weight, count);
  });
}

void Norm(const NormArgs& args) {
  args.bfloat16 ? NormRow<BFloat16Row>(args) : NormRow<Float32Row>(args);
}

template <typename Row>
void AddTo(const void* x, const float* delta, int64_t width, void* out) {
  const auto* from = static_cast<const typename Row::Element*>(x);
  auto* to = static_cast<typename Row::Element*>(out);
  EachVector(width, [&](int64_t i, int64_t count) {
    PutLanes<Row>(to + i, GetLanes<Row>(from + i, count) + GetLanes<Float32Row>(delta + i, count),
                  count);
  });
}

void AddRow(bool bfloat16, const void* x, const float* delta, int64_t width, void* out) {
  bfloat16 ? AddTo<BFloat16Row>(x, delta, width, out) : AddTo<Float32Row>(x, delta, width, out);
}

void SiluMultiply(const float* gate, const float* up, int64_t width, bool round, bool narrow,
                  void* out) {
  EachVector(width, [&](int64_t i, int64_t count) {
    const F32x16 g = GetLanes<Float32Row>(gate + i, count);
    const F32x16 product = g * SigmoidOf(g) * GetLanes<Float32Row>(up + i, count);
    if (narrow) {
      PutLanes<BFloat16Row>(static_cast<uint16_t*>(out) + i, product, count);
    } else {
      PutLanes<Float32Row>(static_cast<float*>(out) + i, round ? RoundBf16(product) : product,
                           count);
    }
  });
}

void Widen(const uint16_t* in, int64_t width, float* out) {
  EachVector(width, [&](int64_t i, int64_t count) {
    PutLanes<Float32Row>(out + i, GetLanes<BFloat16Row>(in + i, count), count);
  });
}

void Accumulate(float weight, const float* y, int64_t width, bool first, float* sum) {
  const F32x16 factor = Set(weight);
  EachVector(width, [&](int64_t i, int64_t count) {
    const F32x16 before = first ? Zero() : GetLanes<Float32Row>(sum + i, count);
    PutLanes<Float32Row>(sum + i, MultiplyAdd(factor, GetLanes<Float32Row>(y + i, count), before),
                         count);
  });
}

}  // namespace
}  // namespace baton::kernels::cpu
