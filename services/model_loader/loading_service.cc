#include "services/model_loader/loading_service.h"

#include "common/log/log.h"
#include "common/rpc/status_conversion.h"
#include "services/model_loader/calls/get_model_call.h"
#include "services/model_loader/calls/get_vocabulary_call.h"

namespace baton::loader {

grpc::Status LoadingService::GetModel(grpc::ServerContext*, const v1::GetModelRequest* request,
                                      v1::GetModelResponse* response) {
  return ToGrpcStatus(AnswerGetModel(*resources_.model, *request, response));
}

grpc::Status LoadingService::GetVocabulary(grpc::ServerContext*,
                                           const v1::GetVocabularyRequest* request,
                                           v1::GetVocabularyResponse* response) {
  return ToGrpcStatus(AnswerGetVocabulary(*resources_.model, *request, response));
}

grpc::Status LoadingService::Load(grpc::ServerContext* context, const v1::LoadRequest* request,
                                  grpc::ServerWriter<v1::LoadEvent>* writer) {
  const absl::Status status = LoadCall(resources_, context, writer).Run(*request);
  // The worker hears it too, but the operator of the storage reads this log.
  if (!status.ok()) BATON_LOG(WARNING) << status.ToString();
  return ToGrpcStatus(status);
}

}  // namespace baton::loader
