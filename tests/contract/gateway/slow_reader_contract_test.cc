// Clients that do not take their stream.
#include <algorithm>
#include <string>

#include "gtest/gtest.h"

#include "services/gateway/http/http_limits.h"
#include "tests/contract/gateway/gateway_fixture.h"

namespace baton::gateway {
namespace {

using nlohmann::json;

constexpr absl::Duration kPatience = absl::Seconds(60);

class SlowReaderContract : public GatewayFixture {
 protected:
  static constexpr size_t kTokens = 4000;
  // Most tokens of a message and messages of a delivery, as the gateway's inbox has them.
  static constexpr size_t kDeliveryTokens = 64;

  // Takes at most a few pages that it has not read.
  struct SlowClient : TestHttpClient {
    explicit SlowClient(int port)
        : TestHttpClient(port, kPatience, /*receive_buffer_bytes=*/4096) {}
  };

  // Each token is some 400 bytes for the scheduler to send, and 2 KiB for the client to take.
  static std::string LongRequest(int n = 1) {
    json body = ChatBody();
    body["n"] = n;
    body["max_tokens"] = kTokens;
    body["seed"] = 1;
    body["ignore_eos"] = true;
    body["logprobs"] = true;
    body["top_logprobs"] = 20;
    body["stream"] = true;
    return body.dump();
  }

  // The same by a client that reads.
  TestHttpResponse TakeLongAnswer() {
    TestHttpClient client(http_port(), kPatience);
    client.SendRequest("POST", "/v1/chat/completions", LongRequest());
    return client.Receive();
  }

  // What all events say of tokens, in however many events.
  static json TokensOf(const TestHttpResponse& response) {
    json tokens = json::array();
    for (const std::string& event : response.Events()) {
      if (event == "[DONE]") continue;
      const json chunk = json::parse(event);
      for (const json& choice : chunk["choices"]) {
        if (!choice.contains("logprobs") || !choice["logprobs"].is_object()) continue;
        for (const json& token : choice["logprobs"]["content"]) tokens.push_back(token);
      }
    }
    return tokens;
  }
};

TEST_F(SlowReaderContract, PausesItsOwnSequenceAloneAndLosesNothing) {
  StartGateway();
  AwaitReady(200);
  SlowClient slow(http_port());
  slow.SendRequest("POST", "/v1/chat/completions", LongRequest());
  AwaitMetric("baton_gateway_paused_requests", 1);

  // Others go on until it stands still, and after.
  TestHttpResponse taken;
  for (size_t before = kTokens; scheduler().num_sent()[0] != before;) {
    before = scheduler().num_sent()[0];
    taken = TakeLongAnswer();
    ASSERT_EQ(taken.status, 200);
    ASSERT_TRUE(taken.complete);
  }
  EXPECT_LT(scheduler().num_sent()[0], kTokens / 2) << "buffers took most of the answer";
  EXPECT_EQ(scheduler().num_open(), 1u);
  EXPECT_EQ(Metric("baton_gateway_paused_requests"), 1);
  const size_t event_bytes = taken.body.size() / kTokens + 1;
  EXPECT_GE(Metric("baton_gateway_paused_bytes"), HttpLimits().unsent_bytes);
  EXPECT_LE(Metric("baton_gateway_paused_bytes"),
            HttpLimits().unsent_bytes + kDeliveryTokens * event_bytes);

  const TestHttpResponse late = slow.Receive();
  EXPECT_EQ(late.status, 200);
  EXPECT_TRUE(late.complete);
  const json tokens = TokensOf(late);
  EXPECT_EQ(tokens.size(), kTokens);
  EXPECT_TRUE(tokens == TokensOf(taken)) << "tokens were lost or changed";
  EXPECT_EQ(Metric("baton_gateway_paused_requests"), 0);
  EXPECT_EQ(Metric("baton_gateway_paused_bytes"), 0);
  EXPECT_EQ(Metric("baton_gateway_stalled_clients_total"), 0);
}

// One that always has more than the client takes would keep the others back until it ends, longer
// than the scheduler waits for a reader.
TEST_F(SlowReaderContract, ChoicesTakeTurns) {
  StartGateway();
  AwaitReady(200);
  SlowClient slow(http_port());
  slow.SendRequest("POST", "/v1/chat/completions", LongRequest(/*n=*/2));
  AwaitMetric("baton_gateway_paused_requests", 1);
  const TestHttpResponse response = slow.Receive();
  ASSERT_EQ(response.status, 200) << response.body;
  ASSERT_TRUE(response.complete);
  size_t tokens[2] = {};
  size_t run = 0;  // tokens of one choice behind each other
  size_t longest_run = 0;
  int last = -1;
  for (const std::string& event : response.Events()) {
    if (event == "[DONE]") continue;
    const json chunk = json::parse(event);
    for (const json& choice : chunk["choices"]) {
      if (!choice.contains("logprobs") || !choice["logprobs"].is_object()) continue;
      const int index = choice["index"];
      const size_t count = choice["logprobs"]["content"].size();
      tokens[index] += count;
      run = (index == last ? run : 0) + count;
      last = index;
      // Who is left when the other is through has no turns to take.
      if (tokens[1 - index] < kTokens) longest_run = std::max(longest_run, run);
    }
  }
  EXPECT_EQ(tokens[0], kTokens);
  EXPECT_EQ(tokens[1], kTokens);
  EXPECT_LT(longest_run, kTokens / 2);
}

TEST_F(SlowReaderContract, IsDroppedAtTheLimitAndItsSequenceCancelled) {
  StartGateway(
      [](GatewayConfig& config) { config.http.limits.write_timeout = absl::Milliseconds(200); });
  AwaitReady(200);
  SlowClient slow(http_port());
  slow.SendRequest("POST", "/v1/chat/completions", LongRequest());
  EXPECT_TRUE(scheduler().WaitForCancelled(1, kPatience));
  EXPECT_EQ(Metric("baton_gateway_stalled_clients_total"), 1);
  EXPECT_EQ(Metric("baton_gateway_client_disconnects_total"), 1);
  EXPECT_EQ(Metric("baton_gateway_paused_requests"), 0);
  EXPECT_EQ(Metric("baton_gateway_paused_bytes"), 0);
  EXPECT_EQ(Metric("baton_gateway_live_requests"), 0);
  EXPECT_FALSE(slow.Receive().complete);
  EXPECT_TRUE(TakeLongAnswer().complete) << "a client that reads has the same limit";
}

}  // namespace
}  // namespace baton::gateway
