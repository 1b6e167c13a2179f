#include "services/model_loader/source/read_buffer.h"

#include <cstdint>

#include <gtest/gtest.h>

namespace baton::loader {
namespace {

TEST(ReadBuffer, IsPageAlignedAndAsLongAsAsked) {
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{4096}, size_t{4097}}) {
    ReadBuffer buffer(bytes);
    EXPECT_EQ(buffer.span().size(), bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.span().data()) % 4096, 0u);
  }
}

TEST(BufferPool, ReusesWhatComesBack) {
  BufferPool pool(1, 1 << 16);
  const std::byte* first = pool.Take(100)->span().data();
  EXPECT_EQ(pool.Take(50000)->span().data(), first);
}

TEST(BufferPool, KeepsNoMoreThanItsLimit) {
  BufferPool pool(1, 4096);
  auto a = pool.Take(10);
  auto b = pool.Take(10);
  EXPECT_NE(a->span().data(), b->span().data());
  const std::byte* kept = a->span().data();
  a.reset();
  b.reset();
  EXPECT_EQ(pool.Take(10)->span().data(), kept);
}

TEST(BufferPool, BuffersOutliveIt) {
  std::shared_ptr<ReadBuffer> buffer;
  {
    BufferPool pool(1, 4096);
    buffer = pool.Take(10);
  }
  buffer->span()[9] = std::byte{7};
  EXPECT_EQ(buffer->span()[9], std::byte{7});
}

}  // namespace
}  // namespace baton::loader
