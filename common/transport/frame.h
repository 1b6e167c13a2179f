// The header of every message between UCX workers, and the checks that it must pass.
//
//   0  magic u32 "BTN1"      8  source u64         48  total_bytes u64      72  payload_crc u32
//   4  version u16          16  epoch u64          56  payload_bytes u64    76  code u32
//   6  kind u16             24  stream_id u64      64  rank u32             80  header_crc u32
//                           32  sequence u64       68  slot u32             84  end
//                           40  offset u64
//
// All little-endian. `header_crc` is the CRC-32C of bytes 0..79. No field is an address (payloads
// of lent memory have one: lent_memory.h); every length is compared with a slot that the receiver
// owns before a byte of payload is taken.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace baton {

inline constexpr size_t kFrameHeaderBytes = 84;
// Of frames, and of what both ends must agree on below them (PrepareTransportEnvironment).
inline constexpr uint16_t kFrameVersion = 6;
// No payload is longer; the check that bounds every sum of lengths.
inline constexpr uint64_t kMaxFramePayloadBytes = uint64_t{1} << 30;

enum class FrameKind : uint16_t {
  kHello = 1,        // payload: the sender's UCX address and name; stream_id: its number of this
                     // connection, which grows; epoch: its number of the call that asks, which
                     // grows; answered by kHelloAnswer
  kHelloAnswer = 2,  // the same of the answering side; sequence: the answered hello's stream_id;
                     // epoch: the answered hello's
  kHiddenState = 3,  // part of a step's activations
  kCredit = 4,       // no payload: sequence is the last object that may be sent
  kWeightChunk = 5,  // part of a weight slice
  kChunkAnswer = 6,  // stream_id: the chunk's epoch; sequence: the chunk's; code:
                     // absl::StatusCode; payload: reason in words
  kGoodbye = 7,      // no payload: the sender closes the connection
  kTokens = 8,       // what a step sampled, from the last stage to the first
  kTokenCredit = 9,  // as kCredit, for tokens
  kLentChunk = 10,   // [offset, total_bytes) of a weight slice, which lie in the sender's memory
                     // (lent_memory.h: the payload, the mark is source and epoch), at least
                     // kMinLentBytes; answered as
                     // kWeightChunk, or by kUnimplemented: send the bytes
};
inline constexpr uint16_t kNumFrameKinds = 11;  // one past the last

struct FrameHeader {
  FrameKind kind = FrameKind::kHello;
  uint64_t source = 0;         // instance of the sending transport; filled in by Peer::Send
  uint64_t epoch = 0;          // of the group; of a weight chunk: its sender's name for itself
  uint64_t stream_id = 0;      // step id, or transfer id
  uint64_t sequence = 0;       // position among the sender's frames of this stream
  uint64_t offset = 0;         // bytes, of the payload in the slot
  uint64_t total_bytes = 0;    // of the whole object that this payload is part of
  uint64_t payload_bytes = 0;  // filled in by Peer::Send
  uint32_t rank = 0;
  uint32_t slot = 0;         // slot index, or slice index
  uint32_t payload_crc = 0;  // CRC-32C of the payload
  uint32_t code = 0;         // absl::StatusCode in answers
};

// Name for logs: "hidden_state".
absl::string_view Name(FrameKind kind);

std::array<std::byte, kFrameHeaderBytes> EncodeFrameHeader(const FrameHeader& header);

// DataLoss if the length, magic, or checksum is wrong; FailedPrecondition naming both versions if
// the version differs; InvalidArgument if the kind is unknown or a length cannot be (payload over
// its limit, offset + payload over total). Any bytes are safe to pass.
absl::StatusOr<FrameHeader> ParseFrameHeader(std::span<const std::byte> bytes);

// "hidden_state epoch 3 stream 17 rank 2 slot 1 [0, 512) of 4096" for messages.
std::string Describe(const FrameHeader& header);

}  // namespace baton
