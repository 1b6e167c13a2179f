// gRPC Inference in front of a fake scheduler: the same core as the HTTP API.
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "grpcpp/create_channel.h"
#include "gtest/gtest.h"

#include "protos/baton/v1/inference.grpc.pb.h"
#include "tests/contract/gateway/inference_fixture.h"
#include "tests/fakes/cuttable_channel.h"

namespace baton::gateway {
namespace {

// A deadline that passes while the scheduler holds the request: long enough to get there on a
// machine where others have the processors.
std::chrono::system_clock::time_point HeldDeadline() {
  return std::chrono::system_clock::now() + std::chrono::seconds(2);
}

TEST_F(InferenceContract, ChatSplitsReasoningAndCounts) {
  Start();
  Answer("because</think>42");
  const Outcome outcome = Generate(ChatRequest());
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.error_message();
  EXPECT_EQ(outcome.Text(), "42");
  EXPECT_EQ(outcome.Reasoning(), "because");
  const v1::GenerateResponse& last = outcome.messages.back();
  EXPECT_EQ(last.finish_reason(), v1::FINISH_REASON_STOP);
  EXPECT_EQ(last.usage().completion_tokens(), Tokens("because</think>42").size());
  for (size_t i = 0; i < outcome.messages.size(); ++i) {
    EXPECT_EQ(outcome.messages[i].sequence_number(), i);
  }
}

TEST_F(InferenceContract, TokensInTokensOut) {
  Start();
  v1::GenerateRequest request = TokenRequest(5);
  request.set_num_top_logprobs(2);
  const Outcome outcome = Generate(request);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.error_message();
  int num_tokens = 0;
  int num_logprobs = 0;
  for (const auto& message : outcome.messages) {
    num_tokens += message.token_ids_size();
    num_logprobs += message.logprobs_size();
  }
  EXPECT_EQ(num_tokens, 5);
  EXPECT_EQ(num_logprobs, 5);
  EXPECT_EQ(outcome.messages.back().finish_reason(), v1::FINISH_REASON_LENGTH);
}

TEST_F(InferenceContract, SameSeedSameTokensAsOverHttp) {
  Start();
  v1::GenerateRequest request = TokenRequest(6);
  request.set_seed(3);
  const Outcome outcome = Generate(request);
  std::vector<uint32_t> tokens;
  for (const auto& message : outcome.messages) {
    tokens.insert(tokens.end(), message.token_ids().begin(), message.token_ids().end());
  }
  const auto http = nlohmann::json::parse(
      Post("/v1/completions",
           {{"prompt", {5, 6, 7}}, {"max_tokens", 6}, {"seed", 3}, {"return_token_ids", true}})
          .body);
  EXPECT_EQ(nlohmann::json(tokens), http["choices"][0]["token_ids"]);
}

TEST_F(InferenceContract, InvalidRequestsNameTheirField) {
  Start();
  EXPECT_EQ(Generate(v1::GenerateRequest()).status.error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  v1::GenerateRequest hot = TokenRequest(5);
  hot.set_temperature(3);
  const grpc::Status status = Generate(hot).status;
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), testing::HasSubstr("temperature"));
  v1::GenerateRequest outside = TokenRequest(5);
  outside.mutable_tokens()->add_token_ids(1u << 31);
  EXPECT_EQ(Generate(outside).status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  v1::GenerateRequest unknown = TokenRequest(5);
  unknown.set_model("gpt-4");
  EXPECT_EQ(Generate(unknown).status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_TRUE(scheduler().requests().empty());
}

TEST_F(InferenceContract, CancelReachesTheScheduler) {
  Start();
  scheduler().HoldAfter(2);
  grpc::ClientContext context;
  const auto reader = stub_->GenerateStream(&context, TokenRequest(100));
  ASSERT_TRUE(ReadTokens(*reader, 2));
  context.TryCancel();
  EXPECT_TRUE(scheduler().WaitForCancelled(1));
  for (v1::GenerateResponse message; reader->Read(&message);) continue;
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

// A process that dies cancels nothing: its connection ends, and nothing else tells of it here.
TEST_F(InferenceContract, ACallerOfAStreamThatDiesIsACancelForTheScheduler) {
  Start([](GatewayConfig& config) { config.max_num_requests = 1; });
  scheduler().HoldAfter(2);
  const auto connection = CuttableChannel::Dial(grpc_port());
  ASSERT_NE(connection, nullptr);
  const auto stub = v1::Inference::NewStub(connection->channel());
  grpc::ClientContext context;
  const auto reader = stub->GenerateStream(&context, TokenRequest(100));
  ASSERT_TRUE(ReadTokens(*reader, 2));
  EXPECT_EQ(Metric("baton_gateway_live_requests"), 1);
  connection->Cut();
  for (v1::GenerateResponse message; reader->Read(&message);) continue;
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(scheduler().WaitForCancelled(1));
  EXPECT_EQ(scheduler().num_open(), 0u);
  AwaitMetric("baton_gateway_live_requests", 0);
  scheduler().Release();
  EXPECT_TRUE(Generate(TokenRequest(2)).status.ok()) << "the only place is free";
}

TEST_F(InferenceContract, DeadlineReachesTheScheduler) {
  Start();
  scheduler().HoldAfter(0);
  grpc::ClientContext context;
  context.set_deadline(HeldDeadline());
  const auto reader = stub_->GenerateStream(&context, TokenRequest(100));
  v1::GenerateResponse message;
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(scheduler().WaitForCancelled(1));
}

TEST_F(InferenceContract, OverloadIsRefusedWithADelay) {
  Start([](GatewayConfig& config) { config.max_num_requests = 1; });
  scheduler().HoldAfter(0);
  grpc::ClientContext first;
  const auto reader = stub_->GenerateStream(&first, TokenRequest(100));
  ASSERT_TRUE(scheduler().WaitForRequests(1));
  grpc::ClientContext second;
  const auto refused = stub_->GenerateStream(&second, TokenRequest(1));
  v1::GenerateResponse message;
  EXPECT_FALSE(refused->Read(&message));
  EXPECT_EQ(refused->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(second.GetServerTrailingMetadata().count("retry-after-ms"), 1u);
  first.TryCancel();
  reader->Finish();
}

TEST_F(InferenceContract, ASchedulerThatStaysAwayEndsTheCall) {
  Start([](GatewayConfig& config) { config.recovery_timeout = absl::Milliseconds(300); });
  scheduler().HoldAfter(1);
  grpc::ClientContext context;
  const auto reader = stub_->GenerateStream(&context, TokenRequest(100));
  v1::GenerateResponse message;
  ASSERT_TRUE(reader->Read(&message));
  StopScheduler();
  while (reader->Read(&message)) {
  }
  EXPECT_FALSE(reader->Finish().ok());
}

TEST_F(InferenceContract, LongPromptsAreJudgedTheSame) {
  Start();
  v1::GenerateRequest request;
  request.set_text(std::string(20000, '7'));  // encoded beside the loop
  const grpc::Status status = Generate(request).status;
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), testing::HasSubstr("maximum context length is 4096"));
}

TEST_F(InferenceContract, NeedsAnApiKeyIfOneIsSet) {
  Start([](GatewayConfig& config) { config.api_keys.keys = {"secret"}; });
  const auto generate = [&](const char* authorization) {
    grpc::ClientContext context;
    if (authorization != nullptr) context.AddMetadata("authorization", authorization);
    const auto reader = stub_->GenerateStream(&context, TokenRequest(2));
    v1::GenerateResponse message;
    while (reader->Read(&message)) continue;
    return reader->Finish().error_code();
  };
  EXPECT_EQ(generate(nullptr), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(generate("Bearer wrong"), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_TRUE(scheduler().requests().empty());
  EXPECT_EQ(generate("Bearer secret"), grpc::StatusCode::OK);
  grpc::ClientContext context;
  v1::GetModelInfoResponse info;
  EXPECT_EQ(stub_->GetModelInfo(&context, v1::GetModelInfoRequest(), &info).error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(InferenceContract, CancelOfALongRequestGivesItsSlotBack) {
  Start([](GatewayConfig& config) { config.max_num_requests = 1; });
  v1::GenerateRequest request;
  request.set_text(std::string(3 << 20, '7'));
  {
    grpc::ClientContext context;
    const auto reader = stub_->GenerateStream(&context, request);
    context.TryCancel();
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  grpc::StatusCode code = grpc::StatusCode::UNAVAILABLE;
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  while (code == grpc::StatusCode::UNAVAILABLE && absl::Now() < deadline) {
    code = Generate(TokenRequest(2)).status.error_code();
  }
  EXPECT_EQ(code, grpc::StatusCode::OK);
}

TEST_F(InferenceContract, AWholeAnswerIsAllOfItsPieces) {
  Start();
  Answer("why</think>what else", v1::FINISH_REASON_STOP);
  grpc::ClientContext context;
  v1::GenerateResponse response;
  v1::GenerateRequest request = ChatRequest();
  request.set_num_top_logprobs(1);
  ASSERT_TRUE(stub_->Generate(&context, request, &response).ok());
  EXPECT_EQ(response.reasoning_text(), "why");
  EXPECT_EQ(response.text(), "what else");
  EXPECT_EQ(response.finish_reason(), v1::FINISH_REASON_STOP);
  EXPECT_EQ(response.usage().completion_tokens(), static_cast<uint32_t>(response.token_ids_size()));
  EXPECT_EQ(response.logprobs_size(), response.token_ids_size());
}

TEST_F(InferenceContract, WholeAnswersFailAndAreCancelledLikeStreams) {
  Start();
  v1::GenerateResponse response;
  grpc::ClientContext wrong;
  EXPECT_EQ(stub_->Generate(&wrong, v1::GenerateRequest(), &response).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  scheduler().HoldAfter(1);
  grpc::ClientContext late;
  late.set_deadline(HeldDeadline());
  EXPECT_EQ(stub_->Generate(&late, TokenRequest(50), &response).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(scheduler().WaitForCancelled(1));
}

// A whole answer that is asked for on a thread of its own, over a connection that can be cut.
class WholeAnswer {
 public:
  explicit WholeAnswer(int port) : connection_(CuttableChannel::Dial(port)) {
    stub_ = v1::Inference::NewStub(connection_->channel());
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    caller_ = std::thread([this] {
      v1::GenerateResponse response;
      status_ = stub_->Generate(&context_, TokenRequest(50), &response);
    });
  }
  ~WholeAnswer() {
    if (caller_.joinable()) caller_.join();
  }
  void Cancel() { context_.TryCancel(); }
  void CutConnection() { connection_->Cut(); }
  grpc::Status Wait() {
    caller_.join();
    return status_;
  }

 private:
  const std::unique_ptr<CuttableChannel> connection_;
  std::unique_ptr<v1::Inference::Stub> stub_;
  grpc::ClientContext context_;
  grpc::Status status_;
  std::thread caller_;
};

TEST_F(InferenceContract, CancelOfAWholeAnswerReachesTheScheduler) {
  Start();
  scheduler().HoldAfter(2);
  WholeAnswer answer(grpc_port());
  EXPECT_TRUE(scheduler().WaitForRequests(1));
  answer.Cancel();
  EXPECT_EQ(answer.Wait().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(scheduler().WaitForCancelled(1));
  scheduler().Release();
  EXPECT_TRUE(Generate(TokenRequest(2)).status.ok());
}

TEST_F(InferenceContract, ACallerOfAWholeAnswerThatDiesIsACancelForTheScheduler) {
  Start();
  scheduler().HoldAfter(2);
  WholeAnswer answer(grpc_port());
  EXPECT_TRUE(scheduler().WaitForRequests(1));
  answer.CutConnection();
  EXPECT_EQ(answer.Wait().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(scheduler().WaitForCancelled(1));
  scheduler().Release();
  EXPECT_TRUE(Generate(TokenRequest(2)).status.ok());
}

TEST_F(InferenceContract, ASchedulerThatStaysAwayEndsAWholeAnswer) {
  Start([](GatewayConfig& config) { config.recovery_timeout = absl::Milliseconds(300); });
  scheduler().HoldAfter(1);
  WholeAnswer answer(grpc_port());
  EXPECT_TRUE(scheduler().WaitForRequests(1));
  StopScheduler();
  EXPECT_EQ(answer.Wait().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(InferenceContract, WordsAndReasoningAreLimitedLikeThoseOfHttp) {
  Start();
  v1::GenerateRequest request = ChatRequest();
  request.add_bad_words(" fox");
  request.set_thinking_token_budget(4);
  Answer("x");
  ASSERT_TRUE(Generate(request).status.ok());
  const v1::SamplingParams sampling = scheduler().requests().back().sampling();
  ASSERT_EQ(sampling.banned_sequences_size(), 2);
  const auto& spaced = sampling.banned_sequences(
      Text({sampling.banned_sequences(0).token_ids(0)}).starts_with(" ") ? 0 : 1);
  EXPECT_EQ(Text({spaced.token_ids().begin(), spaced.token_ids().end()}), " fox");
  EXPECT_EQ(sampling.reasoning_budget().num_tokens(), 4u);
  EXPECT_EQ(sampling.reasoning_budget().end_token_id(), Tokens("</think>").at(0));
  request.set_thinking_token_budget(1u << 31);
  EXPECT_EQ(Generate(request).status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(InferenceContract, AWholeAnswerHasABound) {
  Start([](GatewayConfig& config) { config.max_whole_answer_bytes = 2000; });
  v1::GenerateRequest request = TokenRequest(500);
  v1::GenerateResponse response;
  grpc::ClientContext context;
  EXPECT_EQ(stub_->Generate(&context, request, &response).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(Generate(request).status.ok()) << "a stream has none";
  const nlohmann::json body = {{"prompt", {5, 6, 7}}, {"max_tokens", 500}, {"logprobs", 3}};
  EXPECT_EQ(ErrorOf(Post("/v1/completions", body), 400)["code"], "answer_too_large");
}

TEST_F(InferenceContract, ConstraintsAreJudgedLikeThoseOfHttp) {
  Start();
  v1::GenerateRequest request = TokenRequest(4);
  request.mutable_constraint()->set_regex("(a");
  EXPECT_EQ(Generate(request).status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  request.mutable_constraint();
  request.mutable_constraint()->clear_kind();
  EXPECT_EQ(Generate(request).status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(scheduler().requests().empty());
  request.mutable_constraint()->set_json_schema(R"({"type": "integer"})");
  request.mutable_constraint()->set_compact(true);
  request.set_priority(-3);
  EXPECT_TRUE(Generate(request).status.ok());
  const v1::SubmitRequest submitted = scheduler().requests().back();
  const v1::StructuredOutput& output = submitted.sampling().structured_output();
  EXPECT_EQ(output.kind(), v1::StructuredOutput::KIND_JSON_SCHEMA);
  EXPECT_EQ(output.text(), R"({"type": "integer"})");
  EXPECT_TRUE(output.compact());
  EXPECT_FALSE(output.has_begin_after_token_id());
  EXPECT_EQ(submitted.priority(), -3);
}

TEST_F(InferenceContract, AnAnswerThatCannotGoOnIsAnInvalidArgument) {
  Start();
  FakeAnswer answer{.token_ids = Tokens("one two")};
  answer.status = absl::InvalidArgumentError("none of allowed_token_ids can follow");
  scheduler().PushAnswer(answer);
  const Outcome stream = Generate(TokenRequest(50));
  EXPECT_EQ(stream.Text(), "one two");
  EXPECT_EQ(stream.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(stream.status.error_message(), "none of allowed_token_ids can follow");
  scheduler().PushAnswer(answer);
  grpc::ClientContext context;
  v1::GenerateResponse whole;
  EXPECT_EQ(stub_->Generate(&context, TokenRequest(50), &whole).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(InferenceContract, OnlyNamesThatPassTheCheckAreLogged) {
  Start([](GatewayConfig& config) { config.log_requests = true; });
  v1::GenerateRequest request = TokenRequest(1);
  v1::GenerateResponse response;
  const auto log_of = [&](const std::string& id, grpc::StatusCode code) {
    request.set_request_id(id);
    testing::internal::CaptureStderr();
    grpc::ClientContext context;
    EXPECT_EQ(stub_->Generate(&context, request, &response).error_code(), code);
    return testing::internal::GetCapturedStderr();
  };
  EXPECT_EQ(log_of(std::string(300, 'x'), grpc::StatusCode::INVALID_ARGUMENT).find("xxx"),
            std::string::npos);
  EXPECT_NE(log_of("job-7\nERROR", grpc::StatusCode::OK).find(" Generate job-7\\nERROR OK"),
            std::string::npos);
  EXPECT_NE(log_of("", grpc::StatusCode::OK).find(" Generate gen-"), std::string::npos);
}

}  // namespace
}  // namespace baton::gateway
