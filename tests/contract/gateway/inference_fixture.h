// A client of gRPC Inference for contract tests.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grpcpp/create_channel.h"

#include "protos/baton/v1/inference.grpc.pb.h"
#include "tests/contract/gateway/gateway_fixture.h"

namespace baton::gateway {

// What a stream said.
struct Outcome {
  grpc::Status status;
  std::vector<v1::GenerateResponse> messages;

  std::string Text() const {
    std::string text;
    for (const auto& message : messages) text += message.text();
    return text;
  }
  std::string Reasoning() const {
    std::string text;
    for (const auto& message : messages) text += message.reasoning_text();
    return text;
  }
};

class InferenceContract : public GatewayFixture {
 protected:
  void Start(const std::function<void(GatewayConfig&)>& adjust = nullptr) {
    StartGateway(adjust);
    AwaitReady(200);
    Connect();
  }
  void Connect() {
    stub_ = v1::Inference::NewStub(grpc::CreateChannel(absl::StrCat("127.0.0.1:", grpc_port()),
                                                       grpc::InsecureChannelCredentials()));
  }

  Outcome Generate(const v1::GenerateRequest& request) {
    grpc::ClientContext context;
    const auto reader = stub_->GenerateStream(&context, request);
    Outcome outcome;
    v1::GenerateResponse message;
    while (reader->Read(&message)) outcome.messages.push_back(message);
    outcome.status = reader->Finish();
    return outcome;
  }

  std::unique_ptr<v1::Inference::Stub> stub_;
};

inline v1::GenerateRequest ChatRequest() {
  v1::GenerateRequest request;
  v1::ChatMessage* message = request.mutable_chat()->add_messages();
  message->set_role("user");
  message->set_content("Hi");
  return request;
}

inline v1::GenerateRequest TokenRequest(uint32_t max_tokens) {
  v1::GenerateRequest request;
  for (uint32_t id : {5, 6, 7}) request.mutable_tokens()->add_token_ids(id);
  request.set_max_tokens(max_tokens);
  return request;
}

// All that the scheduler gives before it holds: no write is under way that could fail, and tell of
// the client's end. False if the stream ends first.
inline bool ReadTokens(grpc::ClientReader<v1::GenerateResponse>& reader, int count) {
  v1::GenerateResponse message;
  while (count > 0) {
    if (!reader.Read(&message)) return false;
    count -= message.token_ids_size();
  }
  return true;
}

}  // namespace baton::gateway
