#include "common/transport/frame.h"

#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "common/checksum/crc32c.h"

namespace baton {
namespace {

constexpr uint32_t kMagic = 0x314E5442;  // "BTN1"
constexpr size_t kCrcOffset = 80;

// Writes values one after the other, little-endian (the only byte order that the project runs on).
class Writer {
 public:
  explicit Writer(std::byte* out) : out_(out) {}
  template <typename T>
  void Put(T value) {
    std::memcpy(out_, &value, sizeof(value));
    out_ += sizeof(value);
  }

 private:
  std::byte* out_;
};

class Reader {
 public:
  explicit Reader(const std::byte* in) : in_(in) {}
  template <typename T>
  T Get() {
    T value;
    std::memcpy(&value, in_, sizeof(value));
    in_ += sizeof(value);
    return value;
  }

 private:
  const std::byte* in_;
};

absl::Status CheckLengths(const FrameHeader& header) {
  if (header.payload_bytes > kMaxFramePayloadBytes) {
    return absl::InvalidArgumentError(absl::StrCat("frame payload of ", header.payload_bytes,
                                                   " bytes is over ", kMaxFramePayloadBytes));
  }
  if (header.offset > header.total_bytes ||
      header.payload_bytes > header.total_bytes - header.offset) {
    return absl::InvalidArgumentError(
        absl::StrCat("frame payload reaches past its object: ", Describe(header)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::string_view Name(FrameKind kind) {
  switch (kind) {
    case FrameKind::kHello:
      return "hello";
    case FrameKind::kHelloAnswer:
      return "hello_answer";
    case FrameKind::kHiddenState:
      return "hidden_state";
    case FrameKind::kCredit:
      return "credit";
    case FrameKind::kWeightChunk:
      return "weight_chunk";
    case FrameKind::kChunkAnswer:
      return "chunk_answer";
    case FrameKind::kGoodbye:
      return "goodbye";
    case FrameKind::kTokens:
      return "tokens";
    case FrameKind::kTokenCredit:
      return "token_credit";
    case FrameKind::kLentChunk:
      return "lent_chunk";
  }
  return "?";
}

std::array<std::byte, kFrameHeaderBytes> EncodeFrameHeader(const FrameHeader& header) {
  std::array<std::byte, kFrameHeaderBytes> out;
  Writer writer(out.data());
  writer.Put(kMagic);
  writer.Put(kFrameVersion);
  writer.Put(static_cast<uint16_t>(header.kind));
  writer.Put(header.source);
  writer.Put(header.epoch);
  writer.Put(header.stream_id);
  writer.Put(header.sequence);
  writer.Put(header.offset);
  writer.Put(header.total_bytes);
  writer.Put(header.payload_bytes);
  writer.Put(header.rank);
  writer.Put(header.slot);
  writer.Put(header.payload_crc);
  writer.Put(header.code);
  writer.Put(Crc32c({out.data(), kCrcOffset}));
  return out;
}

absl::StatusOr<FrameHeader> ParseFrameHeader(std::span<const std::byte> bytes) {
  // Magic and version stand where every version has them; the rest is this version's.
  if (bytes.size() < sizeof(uint32_t) + sizeof(uint16_t)) {
    return absl::DataLossError(absl::StrCat("frame header of ", bytes.size(), " bytes"));
  }
  Reader reader(bytes.data());
  if (const auto magic = reader.Get<uint32_t>(); magic != kMagic) {
    return absl::DataLossError(absl::StrCat("frame magic is 0x", absl::Hex(magic)));
  }
  if (const auto version = reader.Get<uint16_t>(); version != kFrameVersion) {
    return absl::FailedPreconditionError(absl::StrCat("peer speaks frame version ", version,
                                                      ", this process version ", kFrameVersion));
  }
  if (bytes.size() != kFrameHeaderBytes) {
    return absl::DataLossError(
        absl::StrCat("frame header of ", bytes.size(), " bytes, not ", kFrameHeaderBytes));
  }
  if (Reader(bytes.data() + kCrcOffset).Get<uint32_t>() != Crc32c(bytes.first(kCrcOffset))) {
    return absl::DataLossError("frame header checksum is wrong");
  }
  const auto kind = reader.Get<uint16_t>();
  if (kind == 0 || kind >= kNumFrameKinds) {
    return absl::InvalidArgumentError(absl::StrCat("frame of unknown kind ", kind));
  }
  FrameHeader header;
  header.kind = static_cast<FrameKind>(kind);
  header.source = reader.Get<uint64_t>();
  header.epoch = reader.Get<uint64_t>();
  header.stream_id = reader.Get<uint64_t>();
  header.sequence = reader.Get<uint64_t>();
  header.offset = reader.Get<uint64_t>();
  header.total_bytes = reader.Get<uint64_t>();
  header.payload_bytes = reader.Get<uint64_t>();
  header.rank = reader.Get<uint32_t>();
  header.slot = reader.Get<uint32_t>();
  header.payload_crc = reader.Get<uint32_t>();
  header.code = reader.Get<uint32_t>();
  if (absl::Status lengths = CheckLengths(header); !lengths.ok()) return lengths;
  return header;
}

std::string Describe(const FrameHeader& header) {
  return absl::StrCat(Name(header.kind), " epoch ", header.epoch, " stream ", header.stream_id,
                      " sequence ", header.sequence, " rank ", header.rank, " slot ", header.slot,
                      " [", header.offset, ", +", header.payload_bytes, ") of ",
                      header.total_bytes);
}

}  // namespace baton
