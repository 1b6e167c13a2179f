// Elements of compact panels as those of the layouts that they stand for: two vectors of bfloat16
// at a time, from lower bytes and looked-up upper ones.
#pragma once

#include "kernels/cpu/variants/simd.h"
#include "kernels/cpu/variants/variant_kernels.h"

namespace baton::kernels::cpu {
namespace {

// Vectors of a unit, and of its codes.
inline constexpr int kCompactVectors = static_cast<int>(kCompactElements / kVectorBytes);
inline constexpr int kCodeVectors = kCompactVectors / 2;
// Steps of k that a vector of compact elements has.
inline constexpr int64_t kVectorSteps = kVectorBytes / kPanelColumns;

// A place in a panel; elements are taken from its begin to its end, each once.
struct CompactElements {
  const uint8_t* unit;
  const uint32_t* stray;  // the next
  uint32_t bound;         // strays of the elements so far are below it
  Bytes upper;            // by code
};

inline CompactElements BeginCompact(const PanelProduct& g, const uint8_t* panel) {
  return {panel + kCompactHeader, reinterpret_cast<const uint32_t*>(panel + g.stray_offset), 0,
          RepeatSixteen(panel)};
}

// The next kVectorBytes elements, vector `vector` of their unit.
__attribute__((always_inline)) inline TwoVectors NextCompact(CompactElements& elements,
                                                             int vector) {
  const Bytes codes =
      LoadBytes(elements.unit + kCompactElements + vector % kCodeVectors * kVectorBytes);
  Bytes upper =
      LookUp(elements.upper, vector < kCodeVectors ? LowerHalves(codes) : UpperHalves(codes));
  elements.bound += static_cast<uint32_t>(kVectorBytes) << 8;
  // Of normal weights, one vector in a hundred has a stray.
  if (__builtin_expect(*elements.stray < elements.bound, false)) {
    for (; *elements.stray < elements.bound; ++elements.stray) {
      const uint32_t place = *elements.stray >> 8;
      upper = SetByte(upper, place % kVectorBytes, static_cast<uint8_t>(*elements.stray));
    }
  }
  const Bytes lower = LoadBytes(elements.unit + vector * kVectorBytes);
  if (vector == kCompactVectors - 1) elements.unit += kCompactBytes;
  return Interleave(lower, upper);
}

}  // namespace
}  // namespace baton::kernels::cpu
