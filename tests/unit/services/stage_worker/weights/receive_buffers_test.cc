#include "services/stage_worker/weights/receive_buffers.h"

#include <utility>

#include "gtest/gtest.h"

namespace baton::stage {
namespace {

TEST(ReceiveBuffersTest, GivesTheSmallestThatFitsAgain) {
  ReceiveBuffers buffers;
  AlignedBuffer small = buffers.Take(1000);
  AlignedBuffer large = buffers.Take(1500);
  const std::byte* small_memory = small.data();
  const std::byte* large_memory = large.data();
  buffers.Give(std::move(large));
  buffers.Give(std::move(small));
  EXPECT_EQ(buffers.kept_bytes(), 2500u);
  const AlignedBuffer first = buffers.Take(900);
  EXPECT_EQ(first.data(), small_memory);
  const AlignedBuffer second = buffers.Take(900);
  EXPECT_EQ(second.data(), large_memory);
  EXPECT_EQ(second.size(), 1500u);
  EXPECT_EQ(buffers.kept_bytes(), 0u);
}

TEST(ReceiveBuffersTest, GivesNothingOfTwiceTheSize) {
  ReceiveBuffers buffers;
  buffers.Give(AlignedBuffer(2000));
  EXPECT_EQ(buffers.Take(1000).size(), 1000u);
  EXPECT_EQ(buffers.Take(2001).size(), 2001u);
  EXPECT_EQ(buffers.kept_bytes(), 2000u);
}

TEST(ReceiveBuffersTest, KeepsABoundedAmount) {
  ReceiveBuffers buffers;
  buffers.Give(AlignedBuffer(ReceiveBuffers::kMostKept - 10));
  buffers.Give(AlignedBuffer(11));
  EXPECT_EQ(buffers.kept_bytes(), ReceiveBuffers::kMostKept - 10);
  buffers.Give(AlignedBuffer(10));
  EXPECT_EQ(buffers.kept_bytes(), ReceiveBuffers::kMostKept);
  buffers.Clear();
  EXPECT_EQ(buffers.kept_bytes(), 0u);
}

}  // namespace
}  // namespace baton::stage
