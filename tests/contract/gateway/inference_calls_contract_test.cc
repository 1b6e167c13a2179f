// Calls of gRPC Inference that generate nothing.
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "grpcpp/create_channel.h"
#include "gtest/gtest.h"

#include "protos/baton/v1/inference.grpc.pb.h"
#include "tests/contract/gateway/inference_fixture.h"

namespace baton::gateway {
namespace {

TEST_F(InferenceContract, LongTextsAreTokenizedToo) {
  Start();
  v1::TokenizeRequest request;
  request.set_text(std::string(40'000, '7'));
  grpc::ClientContext first;
  v1::TokenizeResponse tokens;
  ASSERT_TRUE(stub_->Tokenize(&first, request, &tokens).ok());
  v1::DetokenizeRequest back;
  *back.mutable_token_ids() = tokens.token_ids();
  grpc::ClientContext second;
  v1::DetokenizeResponse text;
  ASSERT_TRUE(stub_->Detokenize(&second, back, &text).ok());
  EXPECT_TRUE(text.text().ends_with(request.text()));
}

TEST_F(InferenceContract, TokenizeIsWhatGenerateSendsAndDetokenizeItsInverse) {
  Start();
  v1::TokenizeRequest request;
  *request.mutable_chat() = ChatRequest().chat();
  grpc::ClientContext first;
  v1::TokenizeResponse tokens;
  ASSERT_TRUE(stub_->Tokenize(&first, request, &tokens).ok());
  EXPECT_EQ(tokens.max_model_len(), 4096u);
  Generate(ChatRequest());
  EXPECT_THAT(tokens.token_ids(),
              testing::ElementsAreArray(scheduler().requests().back().prompt_token_ids()));
  v1::DetokenizeRequest back;
  *back.mutable_token_ids() = tokens.token_ids();
  grpc::ClientContext second;
  v1::DetokenizeResponse text;
  ASSERT_TRUE(stub_->Detokenize(&second, back, &text).ok());
  EXPECT_EQ(text.text(), Text({tokens.token_ids().begin(), tokens.token_ids().end()}));
  back.add_token_ids(99999);
  grpc::ClientContext third;
  EXPECT_EQ(stub_->Detokenize(&third, back, &text).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(InferenceContract, AbortEndsOnesOwnRequestsByName) {
  Start([](GatewayConfig& config) { config.api_keys.keys = {"mine", "other"}; });
  scheduler().HoldAfter(1);
  grpc::ClientContext running;
  running.AddMetadata("authorization", "Bearer mine");
  v1::GenerateRequest request = TokenRequest(50);
  request.set_request_id("job-7");
  const auto reader = stub_->GenerateStream(&running, request);
  v1::GenerateResponse message;
  ASSERT_TRUE(reader->Read(&message));
  const auto abort = [this](const std::string& key, const std::string& id) {
    grpc::ClientContext context;
    context.AddMetadata("authorization", "Bearer " + key);
    v1::AbortRequest named;
    named.add_request_ids(id);
    v1::AbortResponse response;
    EXPECT_TRUE(stub_->Abort(&context, named, &response).ok());
    return response.num_aborted();
  };
  EXPECT_EQ(abort("other", "job-7"), 0u);
  EXPECT_EQ(abort("mine", "job-8"), 0u);
  EXPECT_EQ(abort("mine", "job-7"), 1u);
  while (reader->Read(&message)) continue;
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(scheduler().WaitForCancelled(1));
  TestHttpClient http(http_port());
  http.SendRequest("POST", "/v1/chat/completions", ChatBody().dump(),
                   "Authorization: Bearer mine\r\nX-Request-Id: web\r\n");
  ASSERT_TRUE(scheduler().WaitForRequests(2));
  EXPECT_EQ(abort("mine", "chatcmpl-web"), 1u);
  EXPECT_EQ(ErrorOf(http.Receive(), 499)["code"], "request_aborted");
}

TEST_F(InferenceContract, TokenizeAndAbortRefuseWhatCannotBe) {
  Start();
  v1::TokenizeResponse tokens;
  grpc::ClientContext without_prompt;
  EXPECT_EQ(stub_->Tokenize(&without_prompt, v1::TokenizeRequest(), &tokens).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  v1::TokenizeRequest wrong_role;
  *wrong_role.mutable_chat() = ChatRequest().chat();
  wrong_role.mutable_chat()->mutable_messages(0)->set_role("wizard");
  grpc::ClientContext with_wizard;
  const grpc::Status refused = stub_->Tokenize(&with_wizard, wrong_role, &tokens);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(refused.error_message(), testing::HasSubstr("chat.messages.role"));

  v1::AbortRequest names;
  for (int i = 0; i < 1024; ++i) names.add_request_ids(absl::StrCat("job-", i));
  v1::AbortResponse aborted;
  grpc::ClientContext full;
  EXPECT_TRUE(stub_->Abort(&full, names, &aborted).ok());
  names.add_request_ids("one more");
  grpc::ClientContext too_many;
  const grpc::Status over = stub_->Abort(&too_many, names, &aborted);
  EXPECT_EQ(over.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(over.error_message(), testing::HasSubstr("request_ids"));
}

TEST_F(InferenceContract, TokenizeIsOfTheKeysMinuteAndModelInfoIsNot) {
  Start([](GatewayConfig& config) {
    config.api_keys.keys = {"secret"};
    config.api_keys.limits.requests_per_minute = 1;  // ten that generate nothing
    config.rate_clock = [] { return absl::FromUnixSeconds(1000); };
  });
  const auto code = [&](const auto& call) {
    grpc::ClientContext context;
    context.AddMetadata("authorization", "Bearer secret");
    return call(&context).error_code();
  };
  const auto model_info = [&](grpc::ClientContext* context) {
    v1::GetModelInfoResponse info;
    return stub_->GetModelInfo(context, v1::GetModelInfoRequest(), &info);
  };
  const auto detokenize = [&](grpc::ClientContext* context) {
    v1::DetokenizeRequest request;
    request.add_token_ids(5);
    v1::DetokenizeResponse text;
    return stub_->Detokenize(context, request, &text);
  };
  EXPECT_EQ(code(model_info), grpc::StatusCode::OK);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(code(detokenize), grpc::StatusCode::OK) << i;
  EXPECT_EQ(code(detokenize), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(code(model_info), grpc::StatusCode::OK);
}

TEST_F(InferenceContract, ModelInfoSaysWhatIsServed) {
  Start();
  grpc::ClientContext context;
  v1::GetModelInfoResponse info;
  ASSERT_TRUE(stub_->GetModelInfo(&context, v1::GetModelInfoRequest(), &info).ok());
  EXPECT_EQ(info.model(), "tiny-r1");
  EXPECT_EQ(info.vocab_size(), 2048);
  EXPECT_EQ(info.max_model_len(), 4096);
  EXPECT_EQ(info.architecture(), "deepseek_v3");
}

}  // namespace
}  // namespace baton::gateway
