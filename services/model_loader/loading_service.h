// The gRPC service Loading: starts a call object per call. Calls run on gRPC's threads.
#pragma once

#include "absl/time/time.h"

#include "protos/baton/v1/loading.grpc.pb.h"
#include "services/model_loader/calls/load_call.h"

namespace baton::loader {

class LoadingService final : public v1::Loading::Service {
 public:
  // What `resources` points to must outlive this object.
  explicit LoadingService(const LoadResources& resources) : resources_(resources) {}

  grpc::Status GetModel(grpc::ServerContext* context, const v1::GetModelRequest* request,
                        v1::GetModelResponse* response) override;
  grpc::Status GetVocabulary(grpc::ServerContext* context, const v1::GetVocabularyRequest* request,
                             v1::GetVocabularyResponse* response) override;
  grpc::Status Load(grpc::ServerContext* context, const v1::LoadRequest* request,
                    grpc::ServerWriter<v1::LoadEvent>* writer) override;

  // As ActiveLoads::Drain.
  bool Drain(absl::Time deadline) { return resources_.loads->Drain(deadline); }

 private:
  const LoadResources resources_;
};

}  // namespace baton::loader
