// gRPC service Inference: each Generate becomes an InferenceCall.
#pragma once

#include "protos/baton/v1/inference.grpc.pb.h"
#include "services/gateway/calls/gateway_context.h"

namespace baton::gateway {

class InferenceService final : public v1::Inference::CallbackService {
 public:
  // `context` must outlive the service.
  explicit InferenceService(const GatewayContext& context) : context_(context) {}

  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(
      grpc::CallbackServerContext* server_context, const v1::GenerateRequest* request) override;
  grpc::ServerUnaryReactor* GetModelInfo(grpc::CallbackServerContext* server_context,
                                         const v1::GetModelInfoRequest* request,
                                         v1::GetModelInfoResponse* response) override;

 private:
  const GatewayContext& context_;
};

}  // namespace baton::gateway
