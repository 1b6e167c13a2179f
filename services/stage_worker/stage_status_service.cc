#include "services/stage_worker/stage_status_service.h"

namespace baton::stage {

grpc::ServerUnaryReactor* StageStatusService::GetStageStatus(
    grpc::CallbackServerContext* context, const v1::GetStageStatusRequest* request,
    v1::GetStageStatusResponse* response) {
  const StageSnapshot snapshot = snapshot_();
  response->set_stage_index(snapshot.stage_index);
  response->mutable_layers()->set_begin(snapshot.layer_begin);
  response->mutable_layers()->set_end(snapshot.layer_end);
  response->set_num_ranks(snapshot.num_ranks);
  response->set_epoch(snapshot.epoch);
  response->set_last_step_id(snapshot.last_step_id);
  response->set_num_sequences(snapshot.num_sequences);
  response->set_num_used_blocks(snapshot.num_used_blocks);
  response->set_num_total_blocks(snapshot.num_total_blocks);
  response->set_weight_bytes(snapshot.weight_bytes);
  response->set_kv_bytes(snapshot.kv_bytes);
  response->set_backend(snapshot.backend);
  response->set_num_frames_received(snapshot.transport.frames_received);
  response->set_num_frames_refused(snapshot.transport.frames_refused);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

}  // namespace baton::stage
