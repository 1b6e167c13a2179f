#include "kernels/cuda/plan/launch_shape.h"

#include "gtest/gtest.h"

namespace baton::kernels::cuda {
namespace {

TEST(LaunchShape, AllowsWhatHopperCanRun) {
  const LaunchShape shape = {.grid_x = 132, .block = 384, .shared_bytes = 227 * 1024, .cluster = 4};
  EXPECT_TRUE(CheckLaunch("product", shape, kHopper).ok());
}

TEST(LaunchShape, RefusesWhatTheDeviceCannotAndNamesIt) {
  const LaunchShape fits = {.grid_x = 128, .block = 256, .shared_bytes = 1024};
  EXPECT_TRUE(CheckLaunch("k", fits, kAmpere).ok());
  const auto message = [&](auto change) {
    LaunchShape shape = fits;
    change(shape);
    const absl::Status status = CheckLaunch("product", shape, kAmpere);
    EXPECT_TRUE(absl::IsInvalidArgument(status));
    EXPECT_NE(status.message().find("product"), absl::string_view::npos);
    return std::string(status.message());
  };
  EXPECT_NE(message([](LaunchShape& s) { s.grid_x = 0; }).find("grid x is 0"), std::string::npos);
  EXPECT_NE(message([](LaunchShape& s) { s.grid_y = 65536; }).find("65535"), std::string::npos);
  EXPECT_NE(message([](LaunchShape& s) { s.block = 2048; }).find("1024"), std::string::npos);
  EXPECT_NE(message([](LaunchShape& s) { s.block = 33; }).find("whole warps"), std::string::npos);
  EXPECT_NE(message([](LaunchShape& s) { s.shared_bytes = 200 << 10; }).find("shared memory"),
            std::string::npos);
  EXPECT_NE(message([](LaunchShape& s) { s.cluster = 2; }).find("cluster"), std::string::npos);
}

TEST(LaunchShape, RefusesClustersThatDoNotDivideTheGrid) {
  EXPECT_FALSE(CheckLaunch("product", {.grid_x = 17, .block = 128, .cluster = 4}, kHopper).ok());
}

TEST(LaunchShape, IsEmptyWithoutBlocks) {
  EXPECT_FALSE(LaunchShape().empty());
  EXPECT_TRUE((LaunchShape{.grid_x = 0}).empty());
  EXPECT_TRUE((LaunchShape{.grid_y = 0}).empty());
  EXPECT_TRUE((LaunchShape{.grid_z = 0}).empty());
}

TEST(LaunchShape, CoversEveryElementOnce) {
  EXPECT_EQ(NumBlocks(0, 128), 0);
  EXPECT_EQ(NumBlocks(128, 128), 1);
  EXPECT_EQ(NumBlocks(129, 128), 2);
}

}  // namespace
}  // namespace baton::kernels::cuda
