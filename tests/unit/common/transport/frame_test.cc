#include "common/transport/frame.h"

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "common/checksum/crc32c.h"

namespace baton {
namespace {

FrameHeader Example() {
  return {.kind = FrameKind::kHiddenState,
          .source = 0x1122334455667788,
          .epoch = 3,
          .stream_id = 17,
          .sequence = 16,
          .offset = 128,
          .total_bytes = 4096,
          .payload_bytes = 512,
          .rank = 2,
          .slot = 1,
          .payload_crc = 0xDEADBEEF,
          .code = 5};
}

using Bytes = std::array<std::byte, kFrameHeaderBytes>;

// After a change of its fields, so that the checksum is not what refuses it.
void Reseal(Bytes& bytes) {
  const uint32_t crc = Crc32c(std::span(bytes).first(80));
  std::memcpy(bytes.data() + 80, &crc, sizeof(crc));
}

template <typename T>
Bytes WithField(size_t offset, T value) {
  Bytes bytes = EncodeFrameHeader(Example());
  std::memcpy(bytes.data() + offset, &value, sizeof(value));
  Reseal(bytes);
  return bytes;
}

TEST(FrameHeader, SurvivesEncodingAndParsing) {
  const FrameHeader in = Example();
  const auto out = ParseFrameHeader(EncodeFrameHeader(in));
  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_EQ(out->kind, in.kind);
  EXPECT_EQ(out->source, in.source);
  EXPECT_EQ(out->epoch, in.epoch);
  EXPECT_EQ(out->stream_id, in.stream_id);
  EXPECT_EQ(out->sequence, in.sequence);
  EXPECT_EQ(out->offset, in.offset);
  EXPECT_EQ(out->total_bytes, in.total_bytes);
  EXPECT_EQ(out->payload_bytes, in.payload_bytes);
  EXPECT_EQ(out->rank, in.rank);
  EXPECT_EQ(out->slot, in.slot);
  EXPECT_EQ(out->payload_crc, in.payload_crc);
  EXPECT_EQ(out->code, in.code);
}

TEST(FrameHeader, RefusesEveryFlippedBit) {
  const Bytes right = EncodeFrameHeader(Example());
  for (size_t bit = 0; bit < kFrameHeaderBytes * 8; ++bit) {
    Bytes wrong = right;
    wrong[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
    EXPECT_FALSE(ParseFrameHeader(wrong).ok()) << bit;
  }
}

TEST(FrameHeader, RefusesEveryOtherLength) {
  const Bytes right = EncodeFrameHeader(Example());
  std::vector<std::byte> longer(right.begin(), right.end());
  longer.push_back(std::byte{0});
  EXPECT_FALSE(ParseFrameHeader(longer).ok());
  for (size_t length = 0; length < kFrameHeaderBytes; ++length) {
    EXPECT_FALSE(ParseFrameHeader(std::span(right).first(length)).ok()) << length;
  }
}

TEST(FrameHeader, NamesBothVersions) {
  const auto parsed = ParseFrameHeader(WithField<uint16_t>(4, 9));
  EXPECT_EQ(parsed.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(parsed.status().message(), "version 9"));
  const std::string ours = absl::StrCat("version ", kFrameVersion);
  EXPECT_TRUE(absl::StrContains(parsed.status().message(), ours));
}

TEST(FrameHeader, RefusesUnknownKinds) {
  for (const uint16_t kind : {uint16_t{0}, kNumFrameKinds, uint16_t{0xFFFF}}) {
    EXPECT_EQ(ParseFrameHeader(WithField(6, kind)).status().code(),
              absl::StatusCode::kInvalidArgument)
        << kind;
  }
}

TEST(FrameHeader, RefusesLengthsThatCannotBe) {
  constexpr uint64_t kHuge = ~uint64_t{0};
  // Payload beyond the limit; beyond its object; offset so large that a sum would wrap.
  EXPECT_FALSE(ParseFrameHeader(WithField<uint64_t>(56, kMaxFramePayloadBytes + 1)).ok());
  EXPECT_FALSE(ParseFrameHeader(WithField<uint64_t>(56, 4096 - 128 + 1)).ok());
  EXPECT_FALSE(ParseFrameHeader(WithField<uint64_t>(40, kHuge - 100)).ok());
  EXPECT_FALSE(ParseFrameHeader(WithField<uint64_t>(48, 100)).ok());
  EXPECT_TRUE(ParseFrameHeader(WithField<uint64_t>(56, 4096 - 128)).ok());
}

TEST(FrameHeader, TakesAnyBytesWithoutHarm) {
  std::mt19937_64 random(20);
  std::vector<std::byte> bytes;
  int accepted = 0;
  for (int i = 0; i < 1'000'000; ++i) {
    // Half: any bytes of any length. Half: a sealed header with random fields behind the kind.
    bytes.resize(i % 2 == 0 ? random() % 128 : kFrameHeaderBytes);
    for (size_t at = 0; at < bytes.size(); at += 8) {
      const uint64_t value = random();
      std::memcpy(bytes.data() + at, &value, std::min<size_t>(8, bytes.size() - at));
    }
    if (i % 2 == 1) {
      const Bytes right = EncodeFrameHeader(Example());
      std::memcpy(bytes.data(), right.data(), 8);
      if (i % 4 == 1) std::memset(bytes.data() + 44, 0, 20);  // lengths that can be, now and then
      const uint32_t crc = Crc32c(std::span(bytes).first(80));
      std::memcpy(bytes.data() + 80, &crc, sizeof(crc));
    }
    const auto header = ParseFrameHeader(bytes);
    if (!header.ok()) continue;
    ++accepted;
    EXPECT_LE(header->payload_bytes, kMaxFramePayloadBytes);
    EXPECT_LE(header->payload_bytes, header->total_bytes);
    EXPECT_LE(header->offset, header->total_bytes - header->payload_bytes);
    EXPECT_FALSE(Describe(*header).empty());
  }
  // Only sealed headers with small lengths are ever taken.
  EXPECT_LT(accepted, 250'001);
}

}  // namespace
}  // namespace baton
