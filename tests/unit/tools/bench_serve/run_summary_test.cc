#include "tools/bench_serve/run_summary.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::bench {
namespace {

using testing::DoubleEq;
using testing::ElementsAre;

RequestRecord Record(double start, double ttft, std::vector<double> itls, uint32_t num_output) {
  RequestRecord record;
  record.success = true;
  record.start = start;
  record.ttft = ttft;
  record.latency = ttft;
  for (const double gap : itls) record.latency += gap;
  record.itls = std::move(itls);
  record.num_prompt_tokens = 10;
  record.num_output_tokens = num_output;
  return record;
}

RequestRecord Failed() {
  RequestRecord record;
  record.error = "no";
  record.num_prompt_tokens = 10;
  return record;
}

TEST(RunSummary, CountsWhatCompleted) {
  const LoadResult result{{Record(0, 0.5, {0.25, 0.25}, 3), Failed(), Record(1, 1, {}, 1)}, 4};
  const RunSummary summary = Summarize(result, {});
  EXPECT_EQ(summary.num_completed, 2);
  EXPECT_EQ(summary.num_failed, 1);
  EXPECT_EQ(summary.num_input_tokens, 20);
  EXPECT_EQ(summary.num_output_tokens, 4);
  EXPECT_DOUBLE_EQ(summary.request_throughput, 0.5);
  EXPECT_DOUBLE_EQ(summary.output_throughput, 1);
  EXPECT_DOUBLE_EQ(summary.total_throughput, 6);
  EXPECT_THAT(summary.latencies.at("ttft"), ElementsAre(0.5, 1));
  EXPECT_THAT(summary.latencies.at("tpot"), ElementsAre(DoubleEq(0.25)));
  EXPECT_THAT(summary.latencies.at("itl"), ElementsAre(0.25, 0.25));
  EXPECT_THAT(summary.latencies.at("e2el"), ElementsAre(1, 1));
}

TEST(RunSummary, CountsRequestsThatMeetEveryLimit) {
  const LoadResult result{{Record(0, 0.1, {0.1}, 2), Record(0, 0.3, {0.1}, 2),
                           Record(0, 0.1, {0.9}, 2), Record(0, 0.1, {}, 1)},
                          2};
  EXPECT_DOUBLE_EQ(Summarize(result, {{"ttft", 200}}).request_goodput, 1.5);
  EXPECT_DOUBLE_EQ(Summarize(result, {{"ttft", 200}, {"tpot", 500}}).request_goodput, 1);
  EXPECT_DOUBLE_EQ(Summarize(result, {{"e2el", 150}}).request_goodput, 0.5);
}

TEST(RunSummary, FindsTheBusiestSecond) {
  // Seconds from the first start: one token at 0.5; at 1.2 and 1.4; at 1.9 and 2.1.
  const LoadResult result{
      {Record(5, 0.5, {0.7, 0.2}, 3), Record(6, 0.9, {0.2}, 2), Record(8.5, 0.1, {}, 1)}, 4};
  const RunSummary summary = Summarize(result, {});
  EXPECT_DOUBLE_EQ(summary.peak_output_throughput, 3);
  EXPECT_EQ(summary.peak_concurrent_requests, 2);
}

TEST(RunSummary, IsZeroIfAllFailed) {
  const RunSummary summary = Summarize({{Failed()}, 1}, {});
  EXPECT_EQ(summary.num_completed, 0);
  EXPECT_EQ(summary.peak_concurrent_requests, 0);
  EXPECT_TRUE(summary.latencies.at("itl").empty());
}

}  // namespace
}  // namespace baton::bench
