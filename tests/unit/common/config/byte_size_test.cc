#include "common/config/byte_size.h"

#include <cstdint>

#include "gtest/gtest.h"

namespace baton {
namespace {

TEST(ParseByteSize, TakesUnits) {
  EXPECT_EQ(*ParseByteSize("0"), 0u);
  EXPECT_EQ(*ParseByteSize("1073741824"), uint64_t{1} << 30);
  EXPECT_EQ(*ParseByteSize("12B"), 12u);
  EXPECT_EQ(*ParseByteSize("512MiB"), uint64_t{512} << 20);
  EXPECT_EQ(*ParseByteSize("96 gib"), uint64_t{96} << 30);
  EXPECT_EQ(*ParseByteSize("1.5Ti"), uint64_t{3} << 39);
}

// A size that `baton plan` was asked about means the same to a stage-worker, and to Kubernetes.
TEST(ParseByteSize, TellsThousandsFromPowersOfTwo) {
  EXPECT_EQ(*ParseByteSize("96GB"), 96'000'000'000u);
  EXPECT_EQ(*ParseByteSize("1.5G"), 1'500'000'000u);
  EXPECT_EQ(*ParseByteSize("7kB"), 7000u);
  EXPECT_EQ(*ParseByteSize("7KiB"), 7168u);
}

TEST(ParseByteSize, RefusesEverythingElse) {
  for (const char* text :
       {"", "GiB", "-1", "12 apples", "1e99", "2000000T", "0x10", "nan", "5bi", "1.2.3", "3ib"}) {
    EXPECT_EQ(ParseByteSize(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace baton
