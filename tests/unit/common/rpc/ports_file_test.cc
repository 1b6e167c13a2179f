#include "common/rpc/ports_file.h"

#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace baton {
namespace {

TEST(PortsFile, IsJsonAndLeavesNoDraft) {
  const std::filesystem::path folder =
      std::filesystem::path(::testing::TempDir()) / "ports_file_test";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directory(folder);
  const std::string path = folder / "ports.json";
  ASSERT_TRUE(WritePortsFile(path, {{"grpc", 50052}, {"metrics", 9092}}).ok());
  ASSERT_TRUE(WritePortsFile(path, {{"grpc", 50053}, {"metrics", 0}}).ok());
  std::ifstream file(path);
  const nlohmann::json ports = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  EXPECT_EQ(ports.at("grpc"), 50053);
  EXPECT_EQ(ports.at("metrics"), 0);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);
}

TEST(PortsFile, NamesThePathThatCannotBeWritten) {
  const absl::Status status = WritePortsFile("/nonexistent/ports.json", {{"grpc", 1}});
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(absl::StrContains(status.message(), "/nonexistent/ports.json")) << status;
}

}  // namespace
}  // namespace baton
