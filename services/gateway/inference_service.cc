#include "services/gateway/inference_service.h"

#include "common/rpc/status_conversion.h"
#include "services/gateway/calls/inference_call.h"

namespace baton::gateway {

grpc::ServerWriteReactor<v1::GenerateResponse>* InferenceService::Generate(
    grpc::CallbackServerContext* server_context, const v1::GenerateRequest* request) {
  return new InferenceCall(context_, server_context, request);  // deletes itself
}

grpc::ServerUnaryReactor* InferenceService::GetModelInfo(
    grpc::CallbackServerContext* server_context, const v1::GetModelInfoRequest*,
    v1::GetModelInfoResponse* response) {
  grpc::ServerUnaryReactor* reactor = server_context->DefaultReactor();
  if (const auto caller = IdentifyCaller(context_.api_keys, *server_context); !caller.ok()) {
    reactor->Finish(ToGrpcStatus(caller.status()));
    return reactor;
  }
  response->set_model(context_.model.names.front());
  response->set_max_model_len(static_cast<uint32_t>(context_.validator.max_model_len()));
  response->set_vocab_size(static_cast<uint32_t>(context_.validator.vocab_size()));
  response->set_architecture(context_.model.config.architecture);
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

}  // namespace baton::gateway
