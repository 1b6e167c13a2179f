// Asks a gateway over gRPC and prints the answer as it comes: example-generate HOST:PORT QUESTION
#include <iostream>

#include "grpcpp/grpcpp.h"

#include "protos/baton/v1/inference.grpc.pb.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: example-generate HOST:PORT QUESTION\n";
    return 2;
  }
  const auto channel = grpc::CreateChannel(argv[1], grpc::InsecureChannelCredentials());
  const auto stub = baton::v1::Inference::NewStub(channel);
  baton::v1::GenerateRequest request;
  baton::v1::ChatMessage* message = request.mutable_chat()->add_messages();
  message->set_role("user");
  message->set_content(argv[2]);
  request.set_temperature(0);
  request.set_max_tokens(400);
  grpc::ClientContext context;  // with keys: context.AddMetadata("authorization", "Bearer KEY")
  const auto reader = stub->GenerateStream(&context, request);
  baton::v1::GenerateResponse piece;
  while (reader->Read(&piece)) std::cout << piece.reasoning_text() << piece.text() << std::flush;
  const grpc::Status status = reader->Finish();
  if (!status.ok()) std::cerr << status.error_message() << "\n";
  return status.ok() ? 0 : 1;
}
