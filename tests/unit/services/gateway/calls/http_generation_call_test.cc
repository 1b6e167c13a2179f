// Long requests at the text worker: what they cost while they wait, and how they end there.
#include "services/gateway/calls/http_generation_call.h"

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "services/gateway/admission/early_gate.h"
#include "services/gateway/admission/refusal.h"
#include "tests/unit/services/gateway/calls/held_gateway.h"

namespace baton::gateway {
namespace {

class LongRequestTest : public HeldGateway {
 protected:
  std::unique_ptr<HttpGenerationCall> StartCall(RecordingExchange& exchange,
                                                absl::Duration age = absl::ZeroDuration(),
                                                const std::string& body = "") {
    exchange.request_.body = body.empty() ? std::string(kBodyBytes, 'x') : body;
    exchange.request_.received_tick =
        std::chrono::steady_clock::now() - absl::ToChronoNanoseconds(age);
    auto call = std::make_unique<HttpGenerationCall>(
        context_, exchange,
        HttpGenerationCall::Options{
            .route = "/v1/completions",
            .id_prefix = "cmpl-",
            .prepare = [this](const GatewayContext&, const HttpRequest&,
                              const RequestScope&) -> absl::StatusOr<PreparedGeneration> {
              ++num_prepared_;
              return absl::InvalidArgumentError("refused by the test");
            }});
    call->Start();
    return call;
  }

  int num_prepared_ = 0;
};

TEST_F(LongRequestTest, IsPreparedOnTheWorkerAndAnsweredOnTheLoop) {
  RecordingExchange exchange;
  const auto call = StartCall(exchange);
  EXPECT_EQ(num_prepared_, 0);
  EXPECT_EQ(text_queue_.num_bytes(), kBodyBytes);
  ASSERT_TRUE(worker_.RunOne());
  EXPECT_EQ(num_prepared_, 1);
  EXPECT_EQ(text_queue_.num_bytes(), 0u);
  EXPECT_EQ(exchange.response_.status, 0);
  ASSERT_TRUE(loop_.RunOne());
  EXPECT_EQ(exchange.response_.status, 400);
  EXPECT_EQ(slots_.num_taken(), 0u);
}

TEST_F(LongRequestTest, GoesToTheWorkerWithAConstraintHoweverShortItIs) {
  const std::string bodies[] = {
      R"({"response_format": {"type": "json_object"}})",
      R"({"response\u005fforma\u0074": {"type": "json_object"}})",
      R"({"structured_outputs": {"regex": "a"}})",
      R"({"guided_choice": ["a"]})",
      R"({"tools": [], "tool_choice": "required"})",
      R"({"text": {"format" : {"type": "json_object"}}})",
  };
  for (const std::string& body : bodies) {
    RecordingExchange exchange;
    num_prepared_ = 0;
    const auto call = StartCall(exchange, absl::ZeroDuration(), body);
    EXPECT_EQ(num_prepared_, 0) << body << " would hold up the loop";
    EXPECT_TRUE(worker_.RunOne()) << body;
    EXPECT_EQ(num_prepared_, 1) << body;
    EXPECT_TRUE(loop_.RunOne());
    EXPECT_EQ(exchange.response_.status, 400);
  }
}

TEST_F(LongRequestTest, ShortOnesWithoutAConstraintArePreparedAtOnce) {
  for (const char* body : {R"({"prompt": "x"})", R"({"prompt": "caf\u00e9", "tools": []})"}) {
    RecordingExchange exchange;
    num_prepared_ = 0;
    const auto call = StartCall(exchange, absl::ZeroDuration(), body);
    EXPECT_EQ(num_prepared_, 1) << body;
    EXPECT_EQ(worker_.num_held(), 0u) << body;
  }
}

TEST_F(LongRequestTest, ADisconnectTakesItOutOfTheQueue) {
  RecordingExchange exchange;
  auto call = StartCall(exchange);
  call->OnDisconnect(Departure::kClosed);
  call.reset();
  EXPECT_EQ(slots_.num_taken(), 0u);
  EXPECT_EQ(text_queue_.num_bytes(), 0u);
  ASSERT_TRUE(worker_.RunOne());
  EXPECT_EQ(num_prepared_, 0) << "nobody wants the outcome";
  EXPECT_EQ(loop_.num_held(), 0u);
  EXPECT_EQ(exchange.response_.status, 0);
}

TEST_F(LongRequestTest, DisconnectWhileThePreparedRequestIsOnItsWayBack) {
  RecordingExchange exchange;
  auto call = StartCall(exchange);
  ASSERT_TRUE(worker_.RunOne());
  call->OnDisconnect(Departure::kClosed);
  call.reset();
  EXPECT_EQ(slots_.num_taken(), 1u) << "the request is still in memory";
  ASSERT_TRUE(loop_.RunOne());
  EXPECT_EQ(slots_.num_taken(), 0u);
}

TEST_F(LongRequestTest, IsNotPreparedPastItsDeadline) {
  RecordingExchange exchange;
  const auto call = StartCall(exchange, absl::Seconds(601));
  ASSERT_TRUE(worker_.RunOne());
  ASSERT_TRUE(loop_.RunOne());
  EXPECT_EQ(num_prepared_, 0);
  EXPECT_EQ(exchange.response_.status, 504);
}

// The worker may be busy with others for longer than the deadline.
TEST_F(LongRequestTest, FailsAtItsDeadlineWhileItWaits) {
  RecordingExchange exchange;
  const auto call = StartCall(exchange, absl::Seconds(601));
  EXPECT_EQ(loop_.RunDelayed(absl::ZeroDuration()), 1u);
  EXPECT_EQ(exchange.response_.status, 504);
  EXPECT_EQ(slots_.num_taken(), 0u);
  EXPECT_EQ(text_queue_.num_bytes(), 0u);
  ASSERT_TRUE(worker_.RunOne());
  EXPECT_EQ(num_prepared_, 0);
}

TEST_F(LongRequestTest, IsWatchedUntilTheWorkerIsDoneWithIt) {
  RecordingExchange exchange;
  const auto call = StartCall(exchange);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(loop_.RunDelayed(absl::Seconds(1)), 1u);
  EXPECT_EQ(exchange.response_.status, 0) << "its deadline is far";
  ASSERT_TRUE(worker_.RunOne());
  ASSERT_TRUE(loop_.RunOne());
  EXPECT_EQ(loop_.RunDelayed(absl::Seconds(1)), 1u);
  EXPECT_EQ(loop_.RunDelayed(absl::Seconds(1)), 0u);
}

// What the scheduler says of a request whose body names a priority says nothing of the others.
TEST_F(LongRequestTest, TheGateLearnsOnlyWhereThePriorityIsKnown) {
  const absl::Status refusal = WithClosedFor(
      WithRetryAfter(absl::ResourceExhaustedError("full"), absl::Seconds(5)), absl::Hours(1));
  const auto is_open_after = [&](const std::string& member) {
    RecordingExchange exchange;
    const auto call = StartCall(exchange, absl::ZeroDuration(),
                                "{\"response_format\": {\"type\": \"text\"}" + member + "}");
    call->OnFailure(0, refusal);
    EXPECT_EQ(exchange.response_.status, 503);
    return gate_.Check("", 0, std::chrono::steady_clock::now()).ok();
  };
  EXPECT_TRUE(is_open_after(R"(, "priority": 100)"));
  EXPECT_TRUE(is_open_after(R"(, "\u0070riority": 100)"));
  EXPECT_FALSE(is_open_after(""));
}

TEST_F(LongRequestTest, AStepOfTheTimeOfDayEndsNoRequest) {
  RecordingExchange exchange;
  exchange.request_.received = absl::Now() - absl::Hours(24);  // as it looks after a step
  const auto call = StartCall(exchange);
  ASSERT_TRUE(worker_.RunOne());
  ASSERT_TRUE(loop_.RunOne());
  EXPECT_EQ(num_prepared_, 1);
}

TEST_F(LongRequestTest, CanBeAbortedWhileItWaitsForTheWorker) {
  RecordingExchange exchange;
  exchange.request_.request_id = "job";
  const auto call = StartCall(exchange);
  EXPECT_EQ(live_requests_.Abort("", "cmpl-job"), 1u);
  EXPECT_EQ(exchange.response_.status, 499);
  ASSERT_TRUE(worker_.RunOne());
  EXPECT_EQ(num_prepared_, 0);
  EXPECT_EQ(slots_.num_taken(), 0u);
  EXPECT_EQ(live_requests_.Abort("", "cmpl-job"), 0u);
}

TEST_F(LongRequestTest, IsRefusedWhenTooManyBytesWait) {
  RecordingExchange exchanges[3];
  const auto first = StartCall(exchanges[0]);
  const auto second = StartCall(exchanges[1]);
  const auto third = StartCall(exchanges[2]);
  EXPECT_EQ(exchanges[2].response_.status, 503);
  EXPECT_EQ(slots_.num_taken(), 2u);
  while (worker_.RunOne()) continue;
  while (loop_.RunOne()) continue;
  EXPECT_EQ(slots_.num_taken(), 0u);
  EXPECT_EQ(text_queue_.num_bytes(), 0u);
}

}  // namespace
}  // namespace baton::gateway
