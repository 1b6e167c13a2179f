#include "services/gateway/metrics/sequence_meter.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "prometheus/text_serializer.h"

namespace baton::gateway {
namespace {

using testing::HasSubstr;

class SequenceMeterTest : public testing::Test {
 protected:
  static MonotonicTime At(double seconds) {
    return MonotonicTime() + std::chrono::seconds(1000) +
           std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
  }

  std::string Text() const { return prometheus::TextSerializer().Serialize(registry_->Collect()); }

  // Line of a series of vLLM's with its value.
  static std::string Series(absl::string_view name, absl::string_view value) {
    return absl::StrCat("vllm:", name, "{engine=\"0\",model_name=\"m\"} ", value, "\n");
  }

  std::shared_ptr<prometheus::Registry> registry_ = std::make_shared<prometheus::Registry>();
  VllmMetrics metrics_{registry_, "m", 100};
};

TEST_F(SequenceMeterTest, SplitsTheTimeOfASequence) {
  SequenceMeter meter(metrics_, At(0), 10, 64);
  meter.OnSubmitted(At(1));
  meter.SetQueued(absl::Seconds(2));
  meter.SetCachedTokens(4);
  meter.OnTokens(At(6), 1);
  meter.OnTokens(At(8), 1);
  meter.OnTokens(At(10), 3);
  meter.OnEnd(At(10.5), v1::FINISH_REASON_STOP);
  const std::string text = Text();
  EXPECT_THAT(text, HasSubstr(Series("time_to_first_token_seconds_sum", "6")));
  EXPECT_THAT(text, HasSubstr(Series("request_queue_time_seconds_sum", "2")));
  EXPECT_THAT(text, HasSubstr(Series("request_prefill_time_seconds_sum", "3")));
  EXPECT_THAT(text, HasSubstr(Series("request_decode_time_seconds_sum", "4")));
  EXPECT_THAT(text, HasSubstr(Series("request_inference_time_seconds_sum", "7")));
  EXPECT_THAT(text, HasSubstr(Series("e2e_request_latency_seconds_sum", "10.5")));
  EXPECT_THAT(text, HasSubstr(Series("inter_token_latency_seconds_sum", "4")));
  EXPECT_THAT(text, HasSubstr(Series("inter_token_latency_seconds_count", "2")));
  EXPECT_THAT(text, HasSubstr(Series("time_per_output_token_seconds_count", "2")));
  EXPECT_THAT(text, HasSubstr(Series("request_time_per_output_token_seconds_sum", "1")));
  EXPECT_THAT(text, HasSubstr(Series("generation_tokens_total", "5")));
  EXPECT_THAT(text, HasSubstr(Series("prompt_tokens_cached_total", "4")));
  EXPECT_THAT(text, HasSubstr(Series("request_prefill_kv_computed_tokens_sum", "6")));
  EXPECT_THAT(text, HasSubstr(Series("request_params_max_tokens_sum", "64")));
}

TEST_F(SequenceMeterTest, HasNoIntervalsOfASequenceWithoutTokens) {
  SequenceMeter meter(metrics_, At(0), 10, 64);
  meter.OnSubmitted(At(1));
  meter.OnEnd(At(3), v1::FINISH_REASON_ABORT);
  const std::string text = Text();
  EXPECT_THAT(text, HasSubstr(Series("e2e_request_latency_seconds_sum", "3")));
  EXPECT_THAT(text, HasSubstr(Series("request_queue_time_seconds_count", "0")));
  EXPECT_THAT(text, HasSubstr(Series("time_to_first_token_seconds_count", "0")));
  EXPECT_THAT(text, HasSubstr(Series("prompt_tokens_total", "0")));
  EXPECT_THAT(text, HasSubstr("finished_reason=\"abort\",model_name=\"m\"} 1"));
}

TEST_F(SequenceMeterTest, KeepsTheFirstSubmissionAndItsWait) {
  SequenceMeter meter(metrics_, At(0), 10, 64);
  meter.OnSubmitted(At(1));
  meter.SetQueued(absl::Seconds(1));
  meter.OnTokens(At(3), 1);
  meter.OnSubmitted(At(5));
  meter.SetQueued(absl::Seconds(9));
  meter.OnTokens(At(7), 1);
  meter.OnEnd(At(7), v1::FINISH_REASON_LENGTH);
  EXPECT_THAT(Text(), HasSubstr(Series("request_queue_time_seconds_sum", "1")));
  EXPECT_THAT(Text(), HasSubstr(Series("request_prefill_time_seconds_sum", "1")));
}

TEST_F(SequenceMeterTest, TrustsNoWaitLongerThanItsOwnClockSaw) {
  SequenceMeter meter(metrics_, At(0), 10, 64);
  meter.OnSubmitted(At(1));
  meter.SetQueued(absl::Seconds(100));
  meter.OnTokens(At(3), 1);
  meter.OnEnd(At(3), v1::FINISH_REASON_LENGTH);
  EXPECT_THAT(Text(), HasSubstr(Series("request_queue_time_seconds_sum", "2")));
  EXPECT_THAT(Text(), HasSubstr(Series("request_prefill_time_seconds_sum", "0")));
}

}  // namespace
}  // namespace baton::gateway
