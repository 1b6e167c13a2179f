#include "tools/bench_serve/report.h"

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
