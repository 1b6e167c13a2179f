#include "services/stage_worker/clients/loader_client.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

#include "common/log/log.h"
#include "common/rpc/channel.h"
#include "common/rpc/peer.h"
#include "common/rpc/status_conversion.h"
#include "common/status/status_macros.h"

namespace baton::stage {

LoaderClient::LoaderClient(std::string address, const RpcIdentity& identity)
    : address_(std::move(address)),
      stub_(v1::Loading::NewStub(CreateChannel(address_, "model-loader", identity))) {}

absl::Status LoaderClient::Enter(grpc::ClientContext* context) {
  const absl::MutexLock lock(&mutex_);
  if (cancelled_) return absl::CancelledError("the worker is stopping");
  current_ = context;
  return absl::OkStatus();
}

void LoaderClient::Leave() {
  const absl::MutexLock lock(&mutex_);
  current_ = nullptr;
}

void LoaderClient::Cancel() {
  const absl::MutexLock lock(&mutex_);
  cancelled_ = true;
  if (current_ != nullptr) current_->TryCancel();
}

absl::Status LoaderClient::Explain(const grpc::Status& status) const {
  return Annotate(FromGrpcStatus(status), absl::StrCat("model-loader at ", address_));
}

absl::StatusOr<ServedModel> LoaderClient::GetModel(absl::Time deadline) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(deadline));
  context.set_wait_for_ready(true);
  RETURN_IF_ERROR(Enter(&context));
  v1::GetModelRequest request;
  *request.mutable_peer() = MakePeerInfo("stage-worker");
  v1::GetModelResponse response;
  const grpc::Status status = stub_->GetModel(&context, request, &response);
  Leave();
  RETURN_IF_ERROR(Explain(status));
  RETURN_IF_ERROR(CheckPeer(response.peer(), "stage-worker"));
  if (ModelFingerprint(response.config_json()) != response.model_fingerprint()) {
    return absl::DataLossError(absl::StrCat("model-loader at ", address_,
                                            " sends a config.json that is not its fingerprint's"));
  }
  ServedModel model;
  ASSIGN_OR_RETURN(model.config, ParseModelConfig(response.config_json()));
  model.fingerprint = response.model_fingerprint();
  model.checkpoint_fingerprint = response.checkpoint_fingerprint();
  return model;
}

absl::StatusOr<std::vector<std::string>> LoaderClient::GetVocabulary(absl::Time deadline) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(deadline));
  RETURN_IF_ERROR(Enter(&context));
  v1::GetVocabularyRequest request;
  *request.mutable_peer() = MakePeerInfo("stage-worker");
  v1::GetVocabularyResponse response;
  const grpc::Status status = stub_->GetVocabulary(&context, request, &response);
  Leave();
  RETURN_IF_ERROR(Explain(status));
  return std::vector<std::string>(response.tokens().begin(), response.tokens().end());
}

absl::Status LoaderClient::Load(const v1::LoadRequest& request) {
  grpc::ClientContext context;
  RETURN_IF_ERROR(Enter(&context));
  const auto reader = stub_->Load(&context, request);
  v1::LoadEvent event;
  uint64_t next = 0;
  bool in_order = true;
  bool done = false;
  while (reader->Read(&event)) {
    if (event.sequence_number() != next++) {
      in_order = false;
      context.TryCancel();
    }
    if (event.has_planned()) {
      BATON_LOG(DEBUG) << "the loader sends " << event.planned().slice_bytes() << " bytes in "
                       << event.planned().num_chunks() << " chunks";
    }
    done = event.has_done();
  }
  const grpc::Status status = reader->Finish();
  Leave();
  if (!in_order) {
    return absl::DataLossError(
        absl::StrCat("model-loader at ", address_, " left out messages of a load"));
  }
  RETURN_IF_ERROR(Explain(status));
  if (!done) {
    return absl::DataLossError(
        absl::StrCat("model-loader at ", address_, " ended a load without saying that it is done"));
  }
  return absl::OkStatus();
}

}  // namespace baton::stage
