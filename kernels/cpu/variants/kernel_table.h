// The table of a variant, from the kernels that the including file was compiled into.
#pragma once

#if defined(__AVX512F__)
#include "kernels/cpu/variants/attend_kernels.h"
#else
#include "kernels/cpu/variants/attend_blocks.h"
#endif
#include "kernels/cpu/variants/draw_kernels.h"
#include "kernels/cpu/variants/product_columns.h"
#include "kernels/cpu/variants/row_kernels.h"
#include "kernels/cpu/variants/variant_kernels.h"

namespace baton::kernels::cpu {
namespace {

#if defined(__AVX512F__)
inline constexpr auto kAttend = AttendWidened;
#else
inline constexpr auto kAttend = AttendBlocks;
#endif

// A weight that stays in no cache, so that a product of few rows waits for memory. Not without
// vectors of bytes to look codes up in.
#if defined(__AVX2__)
inline constexpr int64_t kCompactFrom = int64_t{16} << 20;
#else
inline constexpr int64_t kCompactFrom = INT64_MAX;
#endif

// With products in the columns layouts.
constexpr VariantKernels MakeKernels(const char* name) {
  VariantKernels table = {};
  table.name = name;
  table.pairs = false;
  table.pair_step = 1;
  table.interleaved = kPanelInterleaved;
  table.float8_step = kPanelFp8Steps;
  table.float8_unit = kPanelFp8Unit;
  table.compact_vector = kVectorBytes;
  table.compact_from = kCompactFrom;
  table.product = ProductOfColumns;
  table.norm = Norm;
  table.add = AddRow;
  table.silu_multiply = SiluMultiply;
  table.widen = Widen;
  table.accumulate = Accumulate;
  table.attend = kAttend;
  table.extremes = Extremes;
  table.scale_row = ScaleRow;
  table.mass = Mass;
  table.masses = Masses;
  table.find_above = FindAbove;
  table.draw = Draw;
  table.sigmoid = SigmoidRow;
  return table;
}

}  // namespace
}  // namespace baton::kernels::cpu
