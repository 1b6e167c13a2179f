#include "services/model_loader/calls/get_model_call.h"

#include "common/rpc/peer.h"
#include "common/status/status_macros.h"

namespace baton::loader {

absl::Status AnswerGetModel(const ServedModel& model, const v1::GetModelRequest& request,
                            v1::GetModelResponse* response) {
  RETURN_IF_ERROR(CheckPeer(request.peer(), "model-loader"));
  response->set_config_json(model.config_json);
  response->set_model_fingerprint(model.fingerprint);
  response->set_total_bytes(model.checkpoint->total_bytes());
  response->set_num_tensors(static_cast<uint32_t>(model.checkpoint->tensors().size()));
  response->set_checkpoint_fingerprint(model.checkpoint_fingerprint);
  *response->mutable_peer() = MakePeerInfo("model-loader");
  return absl::OkStatus();
}

}  // namespace baton::loader
