#include "tools/simulate/simulate_command.h"

#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace baton::simulate {
namespace {

struct Outcome {
  int code;
  std::string out;
  std::string err;
};

Outcome RunCommand(const std::vector<std::string>& words) {
  std::ostringstream out;
  std::ostringstream err;
  const int code = RunSimulate(words, out, err);
  return {code, out.str(), err.str()};
}

TEST(SimulateCommand, PrintsWhatTheStagesDid) {
  const Outcome outcome = RunCommand({"--num-requests", "20", "--output-len=30", "-pp", "2"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const char* name : {"stage 1 used", "ideal bubble", "p99 TTFT", "preemptions"}) {
    EXPECT_TRUE(absl::StrContains(outcome.out, name)) << outcome.out;
  }
}

TEST(SimulateCommand, ComparesWithAndWithoutPrices) {
  const Outcome outcome =
      RunCommand({"--num-requests=20", "--output-len=30", "--compare", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json["by time"]["requests"], 20);
  EXPECT_EQ(json["by number"]["requests"], 20);
}

TEST(SimulateCommand, PlaysATrace) {
  const std::string path = testing::TempDir() + "/trace.jsonl";
  std::ofstream(path) << "{\"timestamp\": 0, \"input_length\": 10, \"output_length\": 2}\n";
  const Outcome outcome = RunCommand({"--trace", path, "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(nlohmann::json::parse(outcome.out)["by time"]["requests"], 1);
  EXPECT_EQ(RunCommand({"--trace", "/nowhere"}).code, 1);
}

TEST(SimulateCommand, TakesAnotherModelFromItsFolder) {
  const std::string data = std::string(BATON_SOURCE_DIR) + "/tests/data/";
  const Outcome tiny =
      RunCommand({data + "tiny-r1", "-tp", "8", "--num-requests=5", "--input-len=100", "--json"});
  ASSERT_EQ(tiny.code, 0) << tiny.err;
  const Outcome large =
      RunCommand({data + "deepseek-r1", "--num-requests=5", "--input-len=100", "--json"});
  ASSERT_EQ(large.code, 0) << large.err;
  EXPECT_LT(nlohmann::json::parse(tiny.out)["by time"]["p50_tpot_ms"],
            nlohmann::json::parse(large.out)["by time"]["p50_tpot_ms"]);
  EXPECT_EQ(RunCommand({data + "deepseek-r1", "-tp", "7"}).code, 1);
}

TEST(SimulateCommand, RefusesWhatItDoesNotKnow) {
  const Outcome outcome = RunCommand({"--num-request", "3"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_TRUE(absl::StrContains(outcome.err, "did you mean --num-requests")) << outcome.err;
  EXPECT_EQ(RunCommand({"--efficiency", "2"}).code, 2);
  EXPECT_EQ(RunCommand({"--num-requests"}).code, 2);
  EXPECT_EQ(RunCommand({"one", "stray"}).code, 2);
  EXPECT_EQ(RunCommand({"/nowhere"}).code, 1);
}

TEST(SimulateCommand, Helps) {
  const Outcome outcome = RunCommand({"--help"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_TRUE(absl::StrContains(outcome.out, "example:"));
}

}  // namespace
}  // namespace baton::simulate
