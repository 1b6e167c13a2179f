#include "tools/bench_serve/report.h"

#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::bench {
namespace {

using testing::HasSubstr;
using testing::Not;

LoadResult TwoRequests() {
  RequestRecord good;
  good.success = true;
  good.ttft = 0.5;
  good.latency = 1.5;
  good.queue_time = 0.25;
  good.itls = {1};
  good.num_prompt_tokens = 8;
  good.num_output_tokens = 2;
  good.text = "ab";
  RequestRecord bad;
  bad.error = "refused";
  return {{good, bad}, 2};
}

TEST(TextReport, HasTheLinesOfVllm) {
  BenchOptions options;
  options.percentile_metrics = {"ttft", "e2el"};
  options.percentiles = {50, 99.5};
  options.max_concurrency = 4;
  const LoadResult result = TwoRequests();
  const std::string text = TextReport(options, Summarize(result, {}));
  EXPECT_THAT(text, HasSubstr("============ Serving Benchmark Result ============\n"));
  EXPECT_THAT(text, HasSubstr("Successful requests:                     1         \n"));
  EXPECT_THAT(text, HasSubstr("Failed requests:                         1         \n"));
  EXPECT_THAT(text, HasSubstr("Maximum request concurrency:             4         \n"));
  EXPECT_THAT(text, HasSubstr("Benchmark duration (s):                  2.00      \n"));
  EXPECT_THAT(text, HasSubstr("Output token throughput (tok/s):         1.00      \n"));
  EXPECT_THAT(text, HasSubstr("---------------Time to First Token----------------\n"));
  EXPECT_THAT(text, HasSubstr("Median TTFT (ms):                        500.00    \n"));
  EXPECT_THAT(text, HasSubstr("P99.5 E2EL (ms):                         1500.00   \n"));
  EXPECT_THAT(text, Not(HasSubstr("TPOT")));
  EXPECT_THAT(text, Not(HasSubstr("goodput")));
  EXPECT_THAT(text, Not(HasSubstr("RPS")));
}

TEST(JsonReport, HasTheKeysOfVllm) {
  BenchOptions options;
  options.metadata = {{"run", "7"}};
  const LoadResult result = TwoRequests();
  const auto json = JsonReport(options, "m", result, Summarize(result, {}), "20260101-000000");
  EXPECT_EQ(json["completed"], 1);
  EXPECT_EQ(json["failed"], 1);
  EXPECT_EQ(json["total_input_tokens"], 8);
  EXPECT_EQ(json["total_output_tokens"], 2);
  EXPECT_EQ(json["request_rate"], "inf");
  EXPECT_EQ(json["median_tpot_ms"], 1000);
  EXPECT_EQ(json["p99_itl_ms"], 1000);
  EXPECT_EQ(json["std_ttft_ms"], 0);
  EXPECT_EQ(json["run"], "7");
  EXPECT_FALSE(json.contains("mean_e2el_ms"));
  EXPECT_FALSE(json.contains("ttfts"));
  EXPECT_EQ(json["latencies"], nlohmann::ordered_json::array({1.5, 0}));
  EXPECT_EQ(json["queue_times"], nlohmann::ordered_json::array({0.25, 0}));
}

TEST(JsonReport, HasTheWaitForAPlaceWhereThereMayBeOne) {
  BenchOptions options;
  options.percentile_metrics = {"client_queue_time", "e2el_including_client_queue"};
  const LoadResult result = TwoRequests();
  const auto report = [&] { return JsonReport(options, "m", result, Summarize(result, {}), "D"); };
  EXPECT_FALSE(report().contains("mean_client_queue_time_ms"));
  options.max_concurrency = 4;
  EXPECT_EQ(report()["mean_client_queue_time_ms"], 250);
  EXPECT_FALSE(report().contains("mean_e2el_including_client_queue_ms"));
  options.arrivals.request_rate = 10;
  EXPECT_EQ(report()["p99_e2el_including_client_queue_ms"], 1750);
  const std::string text = TextReport(options, Summarize(result, {}));
  EXPECT_THAT(text, HasSubstr("---------------Client-side Queueing---------------\n"
                              "Mean Client Queue Time (ms):             250.00    \n"));
  EXPECT_THAT(text, HasSubstr("--------Queue-inclusive End-to-end Latency--------\n"
                              "Mean E2EL incl. Client Queue (ms):       1750.00   \n"));
}

TEST(JsonReport, HasEveryRequestIfAsked) {
  BenchOptions options;
  options.save_detailed = true;
  const LoadResult result = TwoRequests();
  const auto json = JsonReport(options, "m", result, Summarize(result, {}), "20260101-000000");
  EXPECT_EQ(json["ttfts"].size(), 2);
  EXPECT_EQ(json["itls"][0][0], 1);
  EXPECT_EQ(json["output_lens"][1], 0);
  EXPECT_EQ(json["errors"][1], "refused");
  EXPECT_EQ(json["generated_texts"][0], "ab");
}

TEST(TextReport, HasTheSpeculativeDecodingOfVllm) {
  const BenchOptions options;
  const LoadResult result = TwoRequests();
  RunSummary summary = Summarize(result, {});
  EXPECT_THAT(TextReport(options, summary), Not(HasSubstr("Speculative")));
  EXPECT_FALSE(
      JsonReport(options, "m", result, summary, "D").contains("spec_decode_acceptance_rate"));
  summary.spec_decode = {.acceptance_rate = 62.5,
                         .acceptance_length = 2.25,
                         .num_drafts = 4,
                         .num_draft_tokens = 8,
                         .num_accepted_tokens = 5,
                         .rate_by_position = {0.75, 0.5}};
  const std::string text = TextReport(options, summary);
  EXPECT_THAT(text, HasSubstr("---------------Speculative Decoding---------------\n"
                              "Acceptance rate (%):                     62.50     \n"
                              "Acceptance length:                       2.25      \n"
                              "Drafts:                                  4         \n"
                              "Draft tokens:                            8         \n"
                              "Accepted tokens:                         5         \n"
                              "Per-position acceptance (%):\n"
                              "  Position 0:                            75.00     \n"
                              "  Position 1:                            50.00     \n"
                              "=================================================="));
  const auto json = JsonReport(options, "m", result, summary, "D");
  EXPECT_EQ(json["spec_decode_acceptance_rate"], 62.5);
  EXPECT_EQ(json["spec_decode_acceptance_length"], 2.25);
  EXPECT_EQ(json["spec_decode_num_drafts"], 4);
  EXPECT_EQ(json["spec_decode_draft_tokens"], 8);
  EXPECT_EQ(json["spec_decode_accepted_tokens"], 5);
  EXPECT_EQ(json["spec_decode_per_position_acceptance_rates"],
            nlohmann::ordered_json::array({0.75, 0.5}));
}

TEST(WriteResult, AppendsLinesIfAsked) {
  const std::string path = testing::TempDir() + "/write_result/run.json";
  std::filesystem::remove(path);
  const auto lines = [&path] {
    std::ifstream file(path);
    std::vector<std::string> all;
    for (std::string line; std::getline(file, line);) all.push_back(line);
    return all;
  };
  ASSERT_TRUE(WriteResult(path, {{"run", 1}}, /*append=*/true).ok());
  ASSERT_TRUE(WriteResult(path, {{"run", 2}}, /*append=*/true).ok());
  EXPECT_THAT(lines(), testing::ElementsAre("{\"run\":1}", "{\"run\":2}"));
  ASSERT_TRUE(WriteResult(path, {{"run", 3}}, /*append=*/false).ok());
  EXPECT_THAT(lines(), testing::ElementsAre("{\"run\":3}"));
  std::ofstream(path, std::ios::trunc) << R"({"run":"another program's"})";
  ASSERT_TRUE(WriteResult(path, {{"run", 4}}, /*append=*/true).ok());
  EXPECT_THAT(lines(), testing::ElementsAre(R"({"run":"another program's"})", "{\"run\":4}"));
  EXPECT_THAT(WriteResult("/proc/none/x.json", {}, false).message(), HasSubstr("cannot write"));
}

TEST(ResultPath, NamesBackendRateModelAndTime) {
  BenchOptions options;
  options.result_dir = "out";
  options.arrivals.request_rate = 2.5;
  options.max_concurrency = 8;
  EXPECT_EQ(ResultPath(options, "/models/R1", "D"), "out/openai-2.5qps-concurrency8-R1-D.json");
  options.result_filename = "x.json";
  EXPECT_EQ(ResultPath(options, "/models/R1", "D"), "out/x.json");
}

}  // namespace
}  // namespace baton::bench
