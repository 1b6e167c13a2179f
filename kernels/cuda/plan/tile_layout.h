// Where elements stand in shared memory and in the registers of a warpgroup product: the arithmetic
// behind the tensor copies and the matrix instructions, plain so that host tests can check it.
// Source: PTX ISA 9.0, "Asynchronous Warpgroup Level Matrix Shared Memory Layout" and "Register
// Fragments"; tensor copies with CU_TENSOR_MAP_SWIZZLE_128B.
#pragma once

#include <cstdint>

#include "kernels/cuda/plan/host_device.h"

namespace baton::kernels::cuda {

// A swizzle atom: 8 rows of 128 bytes. Bases of tiles must be multiples of it.
inline constexpr int kAtomRowBytes = 128;
inline constexpr int kAtomRows = 8;
inline constexpr int kAtomBytes = kAtomRows * kAtomRowBytes;

// Byte offset of `byte` (0..127) of row `row` in a tile of rows of 128 bytes with the 128-byte
// swizzle: the 16-byte chunk's number (bits 4..6) is xored with the row's number in its atom (bits
// 7..9). A tensor copy with a box of 128 bytes x rows writes this layout.
BATON_HOST_DEVICE constexpr uint32_t SwizzledOffset(uint32_t row, uint32_t byte) {
  return row * kAtomRowBytes + (byte ^ ((row % kAtomRows) << 4));
}

// Matrix descriptor of a tile in the 128-byte swizzle.
//   bits  0..13  start address >> 4
//   bits 16..29  leading dimension byte offset >> 4: k-major: unused, 1; mn-major: distance of
//                neighbouring runs of 64 elements (128 bytes) along m or n
//   bits 32..45  stride dimension byte offset >> 4: distance of neighbouring groups of 8 rows
//                (k-major: rows of m or n; mn-major: rows of k)
//   bits 49..51  base offset: 0, tiles are aligned to an atom
//   bits 62..63  1: 128-byte swizzle
BATON_HOST_DEVICE constexpr uint64_t MatrixDescriptor(uint32_t shared_address,
                                                      uint32_t leading_bytes,
                                                      uint32_t stride_bytes) {
  return static_cast<uint64_t>((shared_address & 0x3ffffu) >> 4) |
         (static_cast<uint64_t>((leading_bytes & 0x3ffffu) >> 4) << 16) |
         (static_cast<uint64_t>((stride_bytes & 0x3ffffu) >> 4) << 32) | (uint64_t{1} << 62);
}

// A k-major operand whose rows are 128 bytes, one atom below the other. The k-th step of 32 bytes
// along a row starts 32 * k bytes further: the swizzle works on address bits.
BATON_HOST_DEVICE constexpr uint64_t KMajorDescriptor(uint32_t shared_address) {
  return MatrixDescriptor(shared_address, 16, kAtomBytes);
}

// An mn-major operand of 64 elements of 16 bits: its rows along k are 128 bytes. The k-th step of
// 16 rows starts two atoms further.
BATON_HOST_DEVICE constexpr uint64_t MnMajorDescriptor(uint32_t shared_address,
                                                       uint32_t leading_bytes) {
  return MatrixDescriptor(shared_address, leading_bytes, kAtomBytes);
}

// Element (row, column) of the 64 x N result that thread `thread` (0..127) of a warpgroup holds in
// register `index` (0..N/2-1). Four registers per 8 columns: columns 2 (lane % 4) and + 1 of rows
// lane / 4 and + 8 of the warp's 16 rows.
struct FragmentElement {
  int row;
  int column;
};
BATON_HOST_DEVICE constexpr FragmentElement ResultElement(int thread, int index) {
  const int lane = thread % 32;
  return {thread / 32 * 16 + lane / 4 + (index % 4) / 2 * 8,
          index / 4 * 8 + lane % 4 * 2 + index % 2};
}

// First of the `total` items of part `part` when they are cut into `parts` runs, as even as
// possible.
BATON_HOST_DEVICE constexpr int PartBegin(int total, int parts, int part) {
  return static_cast<int>(static_cast<int64_t>(total) * part / parts);
}

BATON_HOST_DEVICE constexpr int CeilDiv(int a, int b) { return (a + b - 1) / b; }

}  // namespace baton::kernels::cuda
