#include "tools/bench_serve/bench_options.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::bench {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

BenchOptions Parsed(const std::vector<std::string>& words) {
  const auto options = ParseBenchOptions(words);
  EXPECT_TRUE(options.ok()) << options.status();
  return options.value_or(BenchOptions{});
}

std::string Refusal(const std::vector<std::string>& words) {
  return std::string(ParseBenchOptions(words).status().message());
}

TEST(BenchOptions, HaveTheDefaultsOfVllm) {
  const BenchOptions options = Parsed({});
  EXPECT_EQ(options.api, Api::kCompletions);
  EXPECT_EQ(options.endpoint, "/v1/completions");
  EXPECT_EQ(options.num_prompts, 1000);
  EXPECT_TRUE(std::isinf(options.arrivals.request_rate));
  EXPECT_EQ(options.prompts.input_len, 1024);
  EXPECT_EQ(options.prompts.output_len, 128);
  EXPECT_THAT(options.percentile_metrics, ElementsAre("ttft", "tpot", "itl"));
  EXPECT_THAT(options.percentiles, ElementsAre(99));
}

TEST(BenchOptions, FindTheEndpointOfABaseUrl) {
  const BenchOptions options =
      Parsed({"--base-url", "http://example.com:81/proxy/", "--backend", "openai-chat"});
  EXPECT_EQ(options.host, "example.com");
  EXPECT_EQ(options.port, 81);
  EXPECT_EQ(options.endpoint, "/proxy/v1/chat/completions");
  EXPECT_EQ(options.api, Api::kChat);
  EXPECT_EQ(Parsed({"--base-url=http://example.com"}).port, 80);
  EXPECT_FALSE(options.tls);
  EXPECT_EQ(options.base_path, "/proxy");
  EXPECT_THAT(Refusal({"--base-url", "ftp://example.com"}), HasSubstr("https://HOST:PORT"));
}

TEST(BenchOptions, FindTheEndpointOfABaseUrlWithTls) {
  const BenchOptions options = Parsed({"--base-url", "https://example.com/v2"});
  EXPECT_TRUE(options.tls);
  EXPECT_FALSE(options.insecure);
  EXPECT_EQ(options.host, "example.com");
  EXPECT_EQ(options.port, 443);
  EXPECT_EQ(options.endpoint, "/v2/v1/completions");
  EXPECT_EQ(Parsed({"--base-url=https://example.com:8443"}).port, 8443);
  EXPECT_TRUE(Parsed({"--base-url=https://example.com", "--insecure"}).insecure);
}

TEST(BenchOptions, TakeFlagsThatMeanNothingWithAWarning) {
  const BenchOptions options = Parsed({"--profile", "--plot-timeline", "--lora-modules", "a", "b",
                                       "--probe-request-rate", "2", "--num-prompts", "3"});
  EXPECT_THAT(options.warnings,
              ElementsAre(HasSubstr("--profile is ignored: "), HasSubstr("--plot-timeline"),
                          HasSubstr("--lora-modules"), HasSubstr("--probe-request-rate")));
  EXPECT_EQ(options.num_prompts, 3);
  EXPECT_THAT(Parsed({"--num-prompts", "3"}).warnings, testing::IsEmpty());
  EXPECT_THAT(BenchHelp(), HasSubstr("--probe-request-rate"));
}

TEST(BenchOptions, TakeConversations) {
  const BenchOptions options =
      Parsed({"--dataset-name", "sharegpt", "--dataset-path", "x.json", "--append-result"});
  EXPECT_EQ(options.prompts.dataset, Dataset::kShareGpt);
  EXPECT_EQ(options.prompts.sharegpt_output_len, 0);
  EXPECT_TRUE(options.append_result);
  EXPECT_EQ(Parsed({"--sharegpt-output-len", "7"}).prompts.sharegpt_output_len, 7);
  EXPECT_THAT(Refusal({"--dataset-name", "sharegpt"}), HasSubstr("--dataset-path"));
}

TEST(BenchOptions, TakeOneLengthForEveryDataSet) {
  const BenchOptions options = Parsed({"--input-len", "7", "--output-len", "9"});
  EXPECT_EQ(options.prompts.input_len, 7);
  EXPECT_EQ(options.prompts.output_len, 9);
  EXPECT_EQ(options.prompts.custom_output_len, 9);
  EXPECT_EQ(options.prompts.repetition_output_len, 9);
}

TEST(BenchOptions, TakeGoodputHeadersAndPercentiles) {
  const BenchOptions options =
      Parsed({"--goodput", "ttft:200", "e2el:3000", "--header", "x-a=b=c", "--metric-percentiles",
              "50,99.9", "--percentile-metrics", "e2el,client_queue_time", "--top-k", "5"});
  EXPECT_THAT(options.goodput, ElementsAre(Pair("e2el", 3000), Pair("ttft", 200)));
  EXPECT_THAT(options.headers, ElementsAre(Pair("x-a", "b=c")));
  EXPECT_THAT(options.percentiles, ElementsAre(50, 99.9));
  EXPECT_THAT(options.percentile_metrics, ElementsAre("e2el", "client_queue_time"));
  EXPECT_THAT(options.sampling, ElementsAre(Pair("top_k", "5")));
}

TEST(BenchOptions, RefuseWhatCannotBe) {
  EXPECT_THAT(Refusal({"--backend", "tgi"}), HasSubstr("\"tgi\""));
  EXPECT_THAT(Refusal({"--goodput", "itl:3"}), HasSubstr("\"itl:3\""));
  EXPECT_THAT(Refusal({"--goodput", "ttft"}), HasSubstr("\"ttft\""));
  EXPECT_THAT(Refusal({"--percentile-metrics", "ttfb"}), HasSubstr("\"ttfb\""));
  EXPECT_THAT(Refusal({"--goodput", "client_queue_time:5"}), HasSubstr("wanted ttft"));
  EXPECT_THAT(Refusal({"--metric-percentiles", "101"}), HasSubstr("\"101\""));
  EXPECT_THAT(Refusal({"--num-prompts", "0"}), HasSubstr("--num-prompts"));
  EXPECT_THAT(Refusal({"--request-rate", "0"}), HasSubstr("--request-rate"));
  EXPECT_THAT(Refusal({"--extra-body", "[1]"}), HasSubstr("--extra-body"));
  EXPECT_THAT(Refusal({"--temperature", "hot"}), HasSubstr("--temperature"));
  EXPECT_THAT(Refusal({"--dataset-name", "custom"}), HasSubstr("--dataset-path"));
  EXPECT_THAT(Refusal({"http://x"}), HasSubstr("no flag"));
}

TEST(BenchOptions, RefuseARampThatIsNone) {
  EXPECT_THAT(Refusal({"--ramp-up-strategy", "linear"}), HasSubstr("--ramp-up-start-rps"));
  EXPECT_THAT(Refusal({"--ramp-up-strategy", "sudden"}), HasSubstr("linear or exponential"));
  EXPECT_THAT(Refusal({"--ramp-up-strategy", "linear", "--ramp-up-start-rps", "1",
                       "--ramp-up-end-rps", "2", "--request-rate", "3"}),
              HasSubstr("exclude"));
  EXPECT_THAT(Refusal({"--ramp-up-strategy", "linear", "--ramp-up-start-rps", "3",
                       "--ramp-up-end-rps", "2"}),
              HasSubstr("above"));
}

}  // namespace
}  // namespace baton::bench
