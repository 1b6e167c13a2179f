// One live Inference.Generate.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/support/server_callback.h"

#include "protos/baton/v1/inference.grpc.pb.h"
#include "services/gateway/admission/api_keys.h"
#include "services/gateway/admission/request_slots.h"
#include "services/gateway/calls/gateway_context.h"
#include "services/gateway/generation/generate_call.h"

namespace baton::gateway {

// Who calls, by one of the keys in the call's metadata, `authorization: Bearer`. Errors:
// Unauthenticated.
absl::StatusOr<ApiCaller> IdentifyCaller(const ApiKeys& keys,
                                         const grpc::CallbackServerContext& context);

// gRPC's threads only post to the loop, which owns all state; the call deletes itself there after
// OnDone. At most kMaxQueued messages wait for a slow reader, then the sequence pauses.
class InferenceCall final : public grpc::ServerWriteReactor<v1::GenerateResponse>,
                            public SequenceObserver {
 public:
  static constexpr size_t kMaxQueued = 64;

  // Starts the call. `context` must outlive it; the others live until OnDone.
  InferenceCall(const GatewayContext& context, grpc::CallbackServerContext* server_context,
                const v1::GenerateRequest* request);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  void OnUpdate(size_t index, SequenceUpdate& update) override;
  void OnFailure(size_t index, const absl::Status& status) override;

 private:
  ~InferenceCall() override = default;

  void Start();
  void Run(absl::StatusOr<SequenceSpec> spec);
  void WriteNext();
  void End(const absl::Status& status);
  void ReleaseSlot();

  const GatewayContext& context_;
  grpc::CallbackServerContext* const server_context_;
  const v1::GenerateRequest* const request_;
  const absl::Time arrival_;
  const MonotonicTime arrival_tick_;  // the same moment
  std::string caller_;                // once it is identified
  // The loop's from here.
  std::optional<RequestSlots::Slot> slot_;
  std::unique_ptr<GenerateCall> sequence_;
  std::deque<v1::GenerateResponse> queue_;  // the front is being written while writing_
  bool writing_ = false;
  std::shared_ptr<TextJob> text_job_;  // while the text worker has the request
  bool paused_ = false;
  bool finished_ = false;                   // Finish was called
  std::optional<absl::Status> end_status_;  // set when nothing more will be queued
  uint64_t next_sequence_number_ = 0;
};

}  // namespace baton::gateway
