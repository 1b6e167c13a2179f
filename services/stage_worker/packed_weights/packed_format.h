// The bytes of a file of packed weights, in this machine's byte order:
//
//   FileHeader | key, zero-padded to 8 | FileEntry x num_entries | FilePiece x num_pieces
//     | CRC32C x num_blocks | zeros
//   data, from data_begin (a multiple of 2 MiB) to the end: pieces at multiples of 64 bytes
//
// A block is kBlockBytes of data, the last one perhaps less; its CRC32C is in the header.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/api/weight_image.h"

namespace baton::stage {

// Rises with everything that changes the file itself.
inline constexpr uint32_t kPackedFormat = 2;
inline constexpr std::array<char, 8> kPackedMagic = {'B', 'A', 'T', 'O', 'N', 'P', 'W', '\n'};
inline constexpr size_t kDataAlignment = size_t{2} << 20;
inline constexpr size_t kBlockBytes = size_t{4} << 20;
inline constexpr size_t kPieceAlignment = kernels::WeightImage::kAlignment;

struct FileHeader {
  std::array<char, 8> magic;
  uint32_t format;
  uint32_t header_crc;  // CRC32C of [0, header_bytes) with zeros here
  uint64_t header_bytes;
  uint64_t data_begin;
  uint64_t file_bytes;
  uint64_t key_bytes;
  uint64_t num_entries;
  uint64_t num_pieces;
  uint64_t num_blocks;
};
static_assert(sizeof(FileHeader) == 72);

// One PlacedBytes. Its pieces stand behind those of the entries before it.
struct FileEntry {
  uint64_t kind;
  int64_t n;
  int64_t k;
  std::array<int64_t, 4> form;
  uint64_t num_pieces;
};
static_assert(sizeof(FileEntry) == 64);

// `begin` counts from the file's start.
struct FilePiece {
  uint64_t begin;
  uint64_t bytes;
};
static_assert(sizeof(FilePiece) == 16);

constexpr uint64_t RoundUp(uint64_t value, uint64_t step) {
  return (value + step - 1) / step * step;
}

}  // namespace baton::stage
