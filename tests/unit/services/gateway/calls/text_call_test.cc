#include "services/gateway/calls/text_call.h"

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"

#include "tests/unit/services/gateway/calls/held_gateway.h"

namespace baton::gateway {
namespace {

class LongTextTest : public HeldGateway {
 protected:
  static constexpr size_t kShortBody = 10;

  std::unique_ptr<TextCall> StartCall(RecordingExchange& exchange,
                                      absl::Duration age = absl::ZeroDuration(),
                                      size_t num_bytes = kBodyBytes) {
    exchange.request_.body = std::string(num_bytes, 'x');
    exchange.request_.received_tick =
        std::chrono::steady_clock::now() - absl::ToChronoNanoseconds(age);
    auto call = std::make_unique<TextCall>(
        context_, exchange,
        TextCall::Options{.route = "/tokenize",
                          .compute = [this](const GatewayContext&,
                                            const HttpRequest&) -> absl::StatusOr<std::string> {
                            ++num_computed_;
                            return "{}";
                          }});
    call->Start();
    return call;
  }

  int num_computed_ = 0;
};

TEST_F(LongTextTest, IsComputedOnTheWorkerAndAnsweredOnTheLoop) {
  RecordingExchange exchange;
  const auto call = StartCall(exchange);
  ASSERT_TRUE(worker_.RunOne());
  EXPECT_EQ(num_computed_, 1);
  EXPECT_EQ(exchange.response_.status, 0);
  ASSERT_TRUE(loop_.RunOne());
  EXPECT_EQ(exchange.response_.status, 200);
  EXPECT_EQ(text_queue_.num_bytes(), 0u);
}

TEST_F(LongTextTest, ADisconnectTakesItOutOfTheQueue) {
  RecordingExchange exchange;
  auto call = StartCall(exchange);
  EXPECT_EQ(text_queue_.num_bytes(), kBodyBytes);
  call->OnDisconnect(Departure::kClosed);
  EXPECT_EQ(text_queue_.num_bytes(), 0u);
  call.reset();
  ASSERT_TRUE(worker_.RunOne());
  EXPECT_EQ(num_computed_, 0);
  loop_.RunDelayed(absl::Seconds(1));
  EXPECT_EQ(exchange.response_.status, 0);
}

// The worker may be busy with others for longer than the deadline.
TEST_F(LongTextTest, FailsAtItsDeadlineWhileItWaits) {
  RecordingExchange exchange;
  const auto call = StartCall(exchange, absl::Seconds(601));
  EXPECT_EQ(loop_.RunDelayed(absl::ZeroDuration()), 1u);
  EXPECT_EQ(exchange.response_.status, 504);
  EXPECT_EQ(text_queue_.num_bytes(), 0u);
  ASSERT_TRUE(worker_.RunOne());
  EXPECT_EQ(num_computed_, 0);
}

TEST_F(LongTextTest, FailsWhenTheTimeOfItsHeaderIsOver) {
  RecordingExchange exchange;
  exchange.request_.timeout = "2.5";
  const auto call = StartCall(exchange, absl::Seconds(3));
  EXPECT_EQ(loop_.RunDelayed(absl::ZeroDuration()), 1u);
  EXPECT_EQ(exchange.response_.status, 504);
  EXPECT_EQ(text_queue_.num_bytes(), 0u);
}

TEST_F(LongTextTest, ItsHeaderGivesItNoMoreTimeThanTheGatewayDoes) {
  RecordingExchange exchange;
  exchange.request_.timeout = "10000";
  const auto call = StartCall(exchange, absl::Seconds(601));
  EXPECT_EQ(loop_.RunDelayed(absl::ZeroDuration()), 1u);
  EXPECT_EQ(exchange.response_.status, 504);
}

// Its body may have been that slow.
TEST_F(LongTextTest, AShortOneThatComesTooLateIsNotComputed) {
  RecordingExchange exchange;
  exchange.request_.timeout = "2";
  const auto late = StartCall(exchange, absl::Seconds(3), kShortBody);
  EXPECT_EQ(exchange.response_.status, 504);
  EXPECT_EQ(num_computed_, 0);
  RecordingExchange other;
  other.request_.timeout = "200";
  const auto in_time = StartCall(other, absl::Seconds(3), kShortBody);
  EXPECT_EQ(other.response_.status, 200);
}

TEST_F(LongTextTest, RefusesAHeaderThatIsNoTime) {
  for (const size_t num_bytes : {kShortBody, kBodyBytes}) {
    RecordingExchange exchange;
    exchange.request_.timeout = "soon";
    const auto call = StartCall(exchange, absl::ZeroDuration(), num_bytes);
    EXPECT_EQ(exchange.response_.status, 400);
    EXPECT_NE(exchange.response_.body.find("X-Request-Timeout"), std::string::npos);
    EXPECT_EQ(text_queue_.num_bytes(), 0u);
  }
  EXPECT_EQ(num_computed_, 0);
}

TEST_F(LongTextTest, IsWatchedUntilTheWorkerIsDoneWithIt) {
  RecordingExchange exchange;
  const auto call = StartCall(exchange);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(loop_.RunDelayed(absl::Seconds(1)), 1u);
  EXPECT_EQ(exchange.response_.status, 0) << "its deadline is far";
  ASSERT_TRUE(worker_.RunOne());
  ASSERT_TRUE(loop_.RunOne());
  EXPECT_EQ(loop_.RunDelayed(absl::Seconds(1)), 1u);
  EXPECT_EQ(loop_.RunDelayed(absl::Seconds(1)), 0u);
}

}  // namespace
}  // namespace baton::gateway
