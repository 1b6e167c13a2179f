// A gateway that is told to stop.
#include <string>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/contract/gateway/gateway_fixture.h"

namespace baton::gateway {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class DrainContract : public GatewayFixture {};

TEST_F(DrainContract, DrainFinishesWhatRunsAndRefusesNewWork) {
  StartGateway([](GatewayConfig& config) { config.server.drain_timeout = absl::Seconds(60); });
  AwaitReady(200);
  Answer("</think>done");
  scheduler().HoldAfter(1);
  TestHttpClient running(http_port());
  running.SendRequest("POST", "/v1/chat/completions", ChatBody().dump());
  ASSERT_TRUE(scheduler().WaitForRequests(1));
  runtime().RequestShutdown("test");
  AwaitReady(503);
  const TestHttpResponse refused = Post("/v1/chat/completions", ChatBody());
  EXPECT_EQ(ErrorOf(refused, 503)["code"], "server_is_draining");
  EXPECT_EQ(refused.Header("x-should-retry"), "true");
  EXPECT_NE(refused.Header("Retry-After"), "");
  scheduler().Release();
  const TestHttpResponse finished = running.Receive();
  EXPECT_EQ(finished.status, 200) << finished.body;
}

TEST_F(DrainContract, DrainDeadlineEndsStreamsWithAnErrorEvent) {
  StartGateway([](GatewayConfig& config) { config.server.drain_timeout = absl::Seconds(1); });
  AwaitReady(200);
  scheduler().HoldAfter(2);
  json request = ChatBody();
  request["stream"] = true;
  TestHttpClient running(http_port());
  running.SendRequest("POST", "/v1/chat/completions", request.dump());
  ASSERT_TRUE(running.ReceiveUntil("data: "));
  runtime().RequestShutdown("test");
  const TestHttpResponse response = running.Receive();
  EXPECT_FALSE(response.complete);
  EXPECT_THAT(response.Events().back(), HasSubstr("shutting down"));
}

TEST_F(DrainContract, DrainSendsWhatASlowReaderHasNotTaken) {
  StartGateway([](GatewayConfig& config) { config.server.drain_timeout = absl::Seconds(60); });
  AwaitReady(200);
  TestHttpClient slow(http_port(), absl::Seconds(60));
  // More than the kernel's buffers hold: 8 x 3500 tokens with 21 log-probabilities each.
  const json request = {{"prompt", {5, 6}}, {"n", 8},    {"max_tokens", 3500},
                        {"logprobs", 20},   {"seed", 1}, {"return_tokens_as_token_ids", true}};
  slow.SendRequest("POST", "/v1/completions", request.dump());
  ASSERT_TRUE(slow.ReceiveUntil("\r\n\r\n"));  // the answer is complete, its body on the way
  std::thread stop([this] { StopGateway(); });
  const TestHttpResponse response = slow.Receive();
  stop.join();
  EXPECT_TRUE(response.complete);
  EXPECT_GT(response.body.size(), size_t{12} << 20) << "the kernel alone may have taken it";
}

}  // namespace
}  // namespace baton::gateway
