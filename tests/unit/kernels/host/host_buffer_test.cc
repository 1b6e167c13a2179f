#include "kernels/host/host_buffer.h"

#include <algorithm>
#include <cstdint>
#include <memory>

#include "gtest/gtest.h"

namespace baton::kernels {
namespace {

TEST(HostBuffer, IsZeroedAndAligned) {
  std::unique_ptr<DeviceBuffer> buffer = HostBuffer::Create(1000).value();
  EXPECT_EQ(buffer->bytes(), 1000u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % 64, 0u);
  const char* bytes = static_cast<const char*>(buffer->data());
  EXPECT_TRUE(std::all_of(bytes, bytes + 1000, [](char byte) { return byte == 0; }));
}

TEST(HostBuffer, RefusesWhatTheHostCannotGive) {
  EXPECT_EQ(HostBuffer::Create(SIZE_MAX - 10).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(HostBuffer::Create(size_t{1} << 60).status().code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace baton::kernels
