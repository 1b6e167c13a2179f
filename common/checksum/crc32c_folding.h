// CRC-32C by carry-less multiplication, 256 bytes a step (AVX-512 with VPCLMULQDQ).
//
// Bytes read one after the other suit the processor's prefetching better than the three streams of
// the crc32 instruction. Source: Gopal et al., "Fast CRC Computation for Generic Polynomials Using
// PCLMULQDQ Instruction", Intel 2009.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace baton::checksum_internal {

// Shorter input than this is not worth the setup.
inline constexpr size_t kLeastFoldedBytes = 512;

// Whether this processor can run ExtendCrc32cFolded.
bool HasCrc32cFolding();

// As ExtendCrc32c, of at least kLeastFoldedBytes. Only where HasCrc32cFolding.
uint32_t ExtendCrc32cFolded(uint32_t crc, std::span<const std::byte> bytes);

}  // namespace baton::checksum_internal
