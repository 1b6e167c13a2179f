#include "tools/plan/plan_command.h"

#include <sstream>

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

#include "common/metrics/small_http_server.h"
#include "tests/fakes/checkpoint_writer.h"

namespace baton {
namespace {

struct Outcome {
  int code;
  std::string out;
  std::string err;
};

Outcome Plan(const std::vector<std::string>& words, const StepCostSource& source = FetchStepCost) {
  std::ostringstream out;
  std::ostringstream err;
  const int code = RunPlan(words, out, err, source);
  return {code, out.str(), err.str()};
}

std::string Data(const std::string& model) {
  return std::string(BATON_SOURCE_DIR) + "/tests/data/" + model;
}

TEST(PlanCommand, PrintsATable) {
  const Outcome outcome = Plan({Data("deepseek-r1"), "-pp", "2", "-tp", "8"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(absl::StrContains(outcome.out, "0-30 (31)")) << outcome.out;
  EXPECT_TRUE(absl::StrContains(outcome.out, "31-60 (30)")) << outcome.out;
  EXPECT_TRUE(absl::StrContains(outcome.out, "It fits.")) << outcome.out;
}

TEST(PlanCommand, PrintsJson) {
  const Outcome outcome = Plan({"--json", "--pipeline-parallel-size=2", "--tensor_parallel_size",
                                "8", "--memory-per-rank", "80GB", Data("deepseek-r1")});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto plan = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(plan["stages"].size(), 2u);
  EXPECT_EQ(plan["stages"][0]["layer_end"], 31);
  EXPECT_EQ(plan["kv_bytes_per_token"], 70272);
  EXPECT_EQ(plan["fits"], true);
}

TEST(PlanCommand, TakesALengthAsServeDoes) {
  for (const auto& [text, num_tokens] : {std::pair("32k", 32000), std::pair("auto", 163840)}) {
    const Outcome outcome =
        Plan({"--json", "--max-model-len", text, "-pp", "2", "-tp", "8", Data("deepseek-r1")});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_EQ(nlohmann::json::parse(outcome.out)["max_model_len"], num_tokens);
  }
}

TEST(PlanCommand, ChecksTheIndexWhereThereIsOne) {
  EXPECT_EQ(Plan({Data("tiny-r1"), "-tp", "8"}).code, 0);
  testing::TempFolder temp("plan_index");
  testing::WriteFile(temp.File("config.json"), testing::SmallConfigJson());
  EXPECT_EQ(Plan({temp.path()}).code, 0);
  testing::WriteFile(temp.File("model.safetensors.index.json"), R"({"weight_map":{}})");
  const Outcome outcome = Plan({temp.path()});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_TRUE(absl::StrContains(outcome.err, "model.embed_tokens.weight")) << outcome.err;
}

TEST(PlanCommand, RefusesWhatCannotWork) {
  const Outcome memory =
      Plan({Data("deepseek-r1"), "-pp=2", "-tp=8", "--memory-per-rank", "24GiB"});
  EXPECT_EQ(memory.code, 1);
  EXPECT_TRUE(absl::StrContains(memory.out, "What would work")) << memory.out;
  const Outcome ranks = Plan({Data("deepseek-r1"), "-tp", "3"});
  EXPECT_EQ(ranks.code, 1);
  EXPECT_TRUE(absl::StrContains(ranks.err, "sizes that work: 1, 2, 4, 8")) << ranks.err;
}

TEST(PlanCommand, RefusesWrongCommandLines) {
  const std::vector<std::vector<std::string>> lines = {{},
                                                       {"a", "b"},
                                                       {"a", "-tp"},
                                                       {"a", "-tp", "x"},
                                                       {"a", "--memory-per-rank", "lots"},
                                                       {"a", "--memory-per-rank", "-1GB"},
                                                       {"a", "--memory-per-rank", "1e300GB"},
                                                       {"a", "--gpu-memory-utilization", "x"},
                                                       {"a", "--max-model-len", "0"},
                                                       {"a", "--max-model-len", "9g"},
                                                       {"a", "--dtype", "int4"}};
  for (const auto& words : lines) EXPECT_EQ(Plan(words).code, 2);
  const Outcome typo = Plan({"a", "--tensor-paralel-size", "8"});
  EXPECT_EQ(typo.code, 2);
  EXPECT_TRUE(absl::StrContains(typo.err, "--tensor-parallel-size?")) << typo.err;
}

// A group that happens to run here need not be the one that is planned.
TEST(PlanCommand, AsksOnlyTheSchedulerThatItIsTold) {
  std::vector<std::string> asked;
  const StepCostSource source = [&asked](const std::string& url, size_t num_stages) {
    asked.push_back(url);
    absl::StatusOr<StepCostReport> report = ParseStepCostMetrics(
        "baton_scheduler_step_cost_seconds{stage=\"0\",term=\"step\"} 0.001\n", num_stages);
    if (report.ok()) report->source = "as it was told";
    return report;
  };
  const Outcome untold = Plan({Data("tiny-r1")}, source);
  EXPECT_TRUE(absl::StrContains(untold.out, "floor")) << untold.out;
  EXPECT_TRUE(asked.empty()) << asked[0];
  const Outcome told = Plan({Data("tiny-r1"), "--scheduler-metrics", "http://s:1/m"}, source);
  EXPECT_EQ(told.code, 0) << told.err;
  EXPECT_TRUE(absl::StrContains(told.out, "Time of a step: as it was told.")) << told.out;
  EXPECT_EQ(asked, std::vector<std::string>{"http://s:1/m"});
  EXPECT_TRUE(absl::StrContains(Plan({"--help"}).out, "--scheduler-metrics (default: none)"));
}

TEST(PlanCommand, AsksByHttp) {
  const auto scheduler = SmallHttpServer::Create("127.0.0.1:0", [](const std::string&) {
    return SmallHttpReply{.body =
                              "baton_scheduler_step_cost_seconds{stage=\"0\",term=\"step\"} 0.001\n"
                              "baton_scheduler_step_cost_measured_steps 120\n"};
  });
  ASSERT_TRUE(scheduler.ok()) << scheduler.status();
  const std::string url = absl::StrCat("http://127.0.0.1:", (*scheduler)->port(), "/metrics");
  const Outcome told = Plan({Data("tiny-r1"), "--scheduler-metrics", url});
  EXPECT_EQ(told.code, 0) << told.err;
  EXPECT_TRUE(absl::StrContains(told.out, "120")) << told.out;
}

TEST(PlanCommand, SaysWhichSchedulerDoesNotAnswer) {
  const Outcome outcome = Plan({Data("tiny-r1"), "--scheduler-metrics", "http://127.0.0.1:1/m"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_TRUE(absl::StrContains(outcome.err, "http://127.0.0.1:1/m: ")) << outcome.err;
}

TEST(PlanCommand, NamesAFolderWithoutAModel) {
  testing::TempFolder temp("plan_none");
  const Outcome outcome = Plan({temp.path()});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_TRUE(absl::StrContains(outcome.err, "config.json")) << outcome.err;
}

}  // namespace
}  // namespace baton
