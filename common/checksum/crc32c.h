// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), as iSCSI and many storage formats use it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace baton {

// Checksum of `bytes`; 0 for none. The fastest form that the processor has is used: carry-less
// multiplication (crc32c_folding.h), its crc32 instruction, tables.
uint32_t Crc32c(std::span<const std::byte> bytes);

// Checksum of a + b, where `crc` is the checksum of a, and `bytes` is b.
uint32_t ExtendCrc32c(uint32_t crc, std::span<const std::byte> bytes);

// Copies `bytes` to `out` and returns their checksum. `out` must hold bytes.size() and not overlap.
uint32_t CopyWithCrc32c(std::byte* out, std::span<const std::byte> bytes);

namespace checksum_internal {

// The table form, which runs on every processor; for tests and machines without the instruction.
uint32_t ExtendCrc32cPortable(uint32_t crc, std::span<const std::byte> bytes);
// Whether this processor has the crc32 instruction.
bool HasCrc32cInstruction();
// The form with the instruction; only where HasCrc32cInstruction.
uint32_t ExtendCrc32cInstruction(uint32_t crc, std::span<const std::byte> bytes);

}  // namespace checksum_internal
}  // namespace baton
