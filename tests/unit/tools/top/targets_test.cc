#include "tools/top/targets.h"

#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::top {
namespace {

std::string Write(const std::string& text) {
  std::string path = testing::TempDir() + "/state.json";
  std::ofstream(path) << text;
  return path;
}

TEST(ReadStateFile, FindsEveryProcess) {
  const auto targets = ReadStateFile(Write(
      R"({"endpoint": "x", "processes": [
          {"role": "gateway", "index": 0, "pid": 5, "ports": {"http": 1, "metrics": 2}},
          {"role": "stage-worker", "index": 3, "pid": 6, "ports": {"metrics": 4}}]})"));
  ASSERT_TRUE(targets.ok()) << targets.status();
  ASSERT_EQ(targets->size(), 2);
  EXPECT_EQ((*targets)[0].name, "gateway");
  EXPECT_EQ((*targets)[0].port, 2);
  EXPECT_EQ((*targets)[1].name, "stage-worker-3");
  EXPECT_EQ((*targets)[1].port, 4);
}

TEST(ReadStateFile, RefusesWhatIsNone) {
  EXPECT_EQ(ReadStateFile("/no/such/file").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadStateFile(Write("[]")).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadStateFile(Write("{\"processes\": [1]}")).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(ParseTarget, TakesUrlsAndAddresses) {
  const auto url = ParseTarget("http://worker-1.svc:9093/other");
  ASSERT_TRUE(url.ok());
  EXPECT_EQ(url->host, "worker-1.svc");
  EXPECT_EQ(url->port, 9093);
  EXPECT_EQ(url->path, "/other");
  EXPECT_EQ(ParseTarget("127.0.0.1:9092")->path, "/metrics");
  EXPECT_EQ(ParseTarget("127.0.0.1:9092/")->path, "/metrics");
  for (const char* bad : {"worker", "http://worker/metrics", ":9", "worker:0", "worker:99999"}) {
    EXPECT_FALSE(ParseTarget(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace baton::top
