// Clients of the gRPC API that do not take their stream.
#include <memory>

#include "absl/strings/str_cat.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/support/channel_arguments.h"
#include "gtest/gtest.h"

#include "tests/contract/gateway/inference_fixture.h"

namespace baton::gateway {
namespace {

class InferenceSlowReader : public InferenceContract {
 protected:
  // Takes at most 64 KiB that nobody has read.
  std::unique_ptr<v1::Inference::Stub> SmallStub() {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    return v1::Inference::NewStub(grpc::CreateCustomChannel(
        absl::StrCat("127.0.0.1:", grpc_port()), grpc::InsecureChannelCredentials(), arguments));
  }

  // Each token is some 400 bytes.
  static v1::GenerateRequest LongTokenRequest(uint32_t num_tokens = kLongTokens) {
    v1::GenerateRequest request = TokenRequest(num_tokens);
    request.set_num_top_logprobs(20);
    request.set_ignore_eos(true);
    return request;
  }

  static constexpr uint32_t kLongTokens = 4000;
};

TEST_F(InferenceSlowReader, PausesItsOwnSequenceAloneAndLosesNothing) {
  Start();
  const auto stub = SmallStub();
  grpc::ClientContext context;
  const auto reader = stub->GenerateStream(&context, LongTokenRequest());
  AwaitMetric("baton_gateway_paused_requests", 1);
  // Others go on until it stands still, and after.
  for (size_t before = kLongTokens; scheduler().num_sent()[0] != before;) {
    before = scheduler().num_sent()[0];
    const Outcome other = Generate(LongTokenRequest());
    ASSERT_TRUE(other.status.ok()) << other.status.error_message();
  }
  EXPECT_LT(scheduler().num_sent()[0], size_t{kLongTokens}) << "buffers took all of the answer";
  EXPECT_EQ(scheduler().num_open(), 1u);
  EXPECT_EQ(Metric("baton_gateway_paused_requests"), 1);
  EXPECT_GE(Metric("baton_gateway_paused_bytes"), 64 << 10);

  int num_tokens = 0;
  for (v1::GenerateResponse message; reader->Read(&message);)
    num_tokens += message.token_ids_size();
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(num_tokens, static_cast<int>(kLongTokens));
  EXPECT_EQ(Metric("baton_gateway_paused_requests"), 0);
  EXPECT_EQ(Metric("baton_gateway_paused_bytes"), 0);
  EXPECT_EQ(Metric("baton_gateway_stalled_clients_total"), 0);
}

TEST_F(InferenceSlowReader, IsDroppedAtTheLimitAndItsSequenceCancelled) {
  Start([](GatewayConfig& config) { config.http.limits.write_timeout = absl::Milliseconds(200); });
  const auto stub = SmallStub();
  grpc::ClientContext context;
  const auto reader = stub->GenerateStream(&context, LongTokenRequest());
  EXPECT_TRUE(scheduler().WaitForCancelled(1, absl::Seconds(60)));
  EXPECT_EQ(Metric("baton_gateway_stalled_clients_total"), 1);
  EXPECT_EQ(Metric("baton_gateway_paused_requests"), 0);
  EXPECT_EQ(Metric("baton_gateway_paused_bytes"), 0);
  EXPECT_EQ(Metric("baton_gateway_live_requests"), 0);
  for (v1::GenerateResponse message; reader->Read(&message);) continue;
  EXPECT_EQ(reader->Finish().error_code(), grpc::CANCELLED);
}

// More than the client takes unread, less than what pauses a sequence: it has ended long before.
TEST_F(InferenceSlowReader, IsDroppedThoughItsAnswerIsComplete) {
  Start([](GatewayConfig& config) { config.http.limits.write_timeout = absl::Milliseconds(200); });
  const auto stub = SmallStub();
  grpc::ClientContext context;
  const auto reader = stub->GenerateStream(&context, LongTokenRequest(400));
  AwaitMetric("baton_gateway_stalled_clients_total", 1);
  int num_tokens = 0;
  for (v1::GenerateResponse message; reader->Read(&message);) {
    num_tokens += message.token_ids_size();
  }
  EXPECT_LT(num_tokens, 400);
  EXPECT_EQ(reader->Finish().error_code(), grpc::CANCELLED);
}

}  // namespace
}  // namespace baton::gateway
