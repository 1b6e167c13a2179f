#include "tools/top/frame.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::top {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;

Scrape Answer(const std::string& name, double seconds, absl::string_view text) {
  return {.target = {.name = name},
          .time = absl::UnixEpoch() + absl::Seconds(seconds),
          .samples = MetricSamples::Parse(absl::StrCat("process_start_time_seconds 100\n", text))};
}

Scrape Gone(const std::string& name) {
  return {.target = {.name = name}, .error = "cannot connect: Connection refused"};
}

std::string Text(const std::vector<Scrape>& now, const std::vector<Scrape>& before) {
  return absl::StrJoin(DrawFrame(now, before), "\n");
}

std::string Stage(int index, int steps, double compute) {
  return absl::StrCat("baton_stage_index ", index, "\nbaton_stage_joined 1\nbaton_stage_epoch 2\n",
                      "baton_stage_sequences 5\nbaton_stage_kv_blocks_used 30\n",
                      "baton_stage_kv_blocks_total 120\nbaton_stage_steps_total ", steps,
                      "\nbaton_stage_step_compute_seconds_sum ", compute,
                      "\nbaton_stage_step_compute_seconds_count ", steps, "\n");
}

TEST(DrawFrame, ShowsRatesSinceTheFrameBefore) {
  const std::vector<Scrape> before{
      Answer("g", 200,
             "baton_gateway_group_ready 1\nvllm:generation_tokens_total{model_name=\"m\"} 50\n")};
  const std::vector<Scrape> now{
      Answer("g", 202,
             "baton_gateway_group_ready 1\nvllm:generation_tokens_total{model_name=\"m\"} 90\n"
             "vllm:num_requests_running{model_name=\"m\"} 7\n")};
  EXPECT_THAT(Text(now, before), AllOf(HasSubstr("generated 20.0/s"), HasSubstr("running 7"),
                                       HasSubstr("group      ready"), HasSubstr("model m")));
}

TEST(DrawFrame, ShowsRatesSinceTheStartOfANewProcess) {
  const std::vector<Scrape> now{
      Answer("g", 110, "baton_gateway_group_ready 0\nvllm:generation_tokens_total 50\n")};
  EXPECT_THAT(Text(now, {}), AllOf(HasSubstr("generated 5.0/s"), HasSubstr("NOT READY")));
}

TEST(DrawFrame, CountsFromZeroWhenAProcessHasStartedAgain) {
  Scrape before = Answer("s", 200, "baton_scheduler_steps_total 1000\n");
  Scrape now = before;
  now.samples =
      MetricSamples::Parse("process_start_time_seconds 200\nbaton_scheduler_steps_total 8\n");
  now.time = absl::UnixEpoch() + absl::Seconds(204);
  EXPECT_THAT(Text({now}, {before}), HasSubstr("steps 2.0/s"));
}

TEST(DrawFrame, HasARowForEveryStageInOrder) {
  const std::vector<Scrape> now{Answer("b", 300, Stage(1, 20, 0.5)),
                                Answer("a", 300, Stage(0, 20, 1))};
  const std::string text = Text(now, {});
  EXPECT_THAT(text, ContainsRegex("\n0 +ready +2 +5 +25%[^\n]+ 50.0 ms"));
  EXPECT_THAT(text, ContainsRegex("\n1 +ready +2 +5 +25%[^\n]+ 25.0 ms"));
  EXPECT_LT(text.find("\n0 "), text.find("\n1 "));
}

TEST(DrawFrame, ShowsALoadThatIsUnderWay) {
  const std::vector<Scrape> now{Answer("w", 300,
                                       "baton_stage_joined 0\nbaton_stage_loaded_bytes 25\n"
                                       "baton_stage_load_total_bytes 100\n")};
  EXPECT_THAT(Text(now, {}), HasSubstr("load 25%"));
}

TEST(DrawFrame, NamesWhatIsMissing) {
  const std::string text =
      Text({Gone("gateway"), Gone("scheduler"), Gone("stage-worker-0"), Gone("http://x:1")}, {});
  EXPECT_THAT(text, HasSubstr("gateway    missing: cannot connect"));
  EXPECT_THAT(text, HasSubstr("scheduler  missing: cannot connect"));
  EXPECT_THAT(text, ContainsRegex("\n0 +missing: cannot connect"));
  EXPECT_THAT(text, HasSubstr("http://x:1 missing: cannot connect"));
}

TEST(Units, FitTheirSize) {
  EXPECT_EQ(SecondsText(std::nullopt), "-");
  EXPECT_EQ(SecondsText(0.000123), "123 us");
  EXPECT_EQ(SecondsText(0.0123), "12.3 ms");
  EXPECT_EQ(SecondsText(12.3), "12.30 s");
  EXPECT_EQ(BytesText(17), "17 B");
  EXPECT_EQ(BytesText(1536), "1.5 KiB");
  EXPECT_EQ(BytesText(200.0 * 1024 * 1024), "200 MiB");
}

}  // namespace
}  // namespace baton::top
