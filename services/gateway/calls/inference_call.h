// One live Inference.Generate or GenerateStream.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

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

// Admission, the sequence and its end; how the answer is written is for the two below. gRPC's
// threads only post to the loop, which owns all state.
class InferenceCall : public SequenceObserver {
 public:
  void OnUpdate(size_t index, SequenceUpdate& update) override;
  void OnFailure(size_t index, const absl::Status& status) override;

 protected:
  InferenceCall(const GatewayContext& context, grpc::CallbackServerContext* server_context,
                const v1::GenerateRequest* request);
  ~InferenceCall() override = default;

  void Start();
  // The client is gone.
  void Leave(const absl::Status& why);
  void End(const absl::Status& status);
  void SetPaused(bool paused);
  // The client's side of the call ends now; gRPC's OnCancel follows.
  void CancelCall() { server_context_->TryCancel(); }
  // Once nothing more is delivered: how it ended, with the time to retry in the call's metadata.
  bool ended() const { return end_status_.has_value() && text_job_ == nullptr; }
  const std::string& request_id() const { return request_id_; }
  grpc::Status FinalStatus();

  const GatewayContext& context() const { return context_; }

 private:
  // A piece of the answer.
  virtual void Deliver(v1::GenerateResponse response) = 0;
  // ended() has become true.
  virtual void Conclude() = 0;

  absl::StatusOr<ApiCaller> TakePlace();
  // Ends the call at its deadline while its request waits for the text worker.
  void WatchDeadline(absl::Time deadline);
  void Run(absl::StatusOr<SequenceSpec> spec);
  void ReleaseSlot();
  void ChargeNewTokens();

  const GatewayContext& context_;
  grpc::CallbackServerContext* const server_context_;
  const v1::GenerateRequest* const request_;
  const absl::Time arrival_;
  const MonotonicTime arrival_tick_;  // the same moment
  const std::string request_id_;      // its own or one made up; empty: its own is too long
  ApiCaller caller_;                  // once it is identified
  std::optional<RequestSlots::Slot> slot_;
  std::optional<uint64_t> num_paid_tokens_;  // of its prompt; null: the request was not taken
  LiveRequests::Entry entry_;
  std::unique_ptr<GenerateCall> sequence_;
  // While the text queue or its worker has the request: its name there. Only this object holds it.
  std::shared_ptr<uint64_t> text_job_;
  std::optional<absl::Status> end_status_;  // set when nothing more will be delivered
  uint64_t next_sequence_number_ = 0;
  uint32_t num_charged_tokens_ = 0;  // of its answer, to its key
};

// Pieces as they come. Once kMaxQueuedBytes wait for a slow reader the sequence pauses; a client
// that takes nothing for the stall limit meanwhile, or once the answer is complete, is dropped.
// Deletes itself on the loop after OnDone.
class StreamedInference final : public grpc::ServerWriteReactor<v1::GenerateResponse>,
                                public InferenceCall {
 public:
  static constexpr size_t kMaxQueuedBytes = 64 << 10;

  // Starts the call. `context` must outlive it; the others live until OnDone. So below.
  StreamedInference(const GatewayContext& context, grpc::CallbackServerContext* server_context,
                    const v1::GenerateRequest* request);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  ~StreamedInference() override = default;
  void Deliver(v1::GenerateResponse response) override;
  void Conclude() override;
  void WriteNext();
  void BeginPause();
  void EndPause();
  // Looks at the stall limit's end whether the client has taken anything.
  void WatchReader();

  // The loop's.
  std::deque<v1::GenerateResponse> queue_;  // the front is being written while writing_
  size_t queued_bytes_ = 0;
  bool writing_ = false;
  bool paused_ = false;
  size_t paused_bytes_ = 0;  // in the queue when it was last paused
  absl::Time last_taken_;    // of SteadyNow(), when the client took something, or the pause began
  bool watching_ = false;
  bool finished_ = false;                                       // Finish was called
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for delayed work
};

// All pieces together.
class WholeInference final : public grpc::ServerUnaryReactor, public InferenceCall {
 public:
  WholeInference(const GatewayContext& context, grpc::CallbackServerContext* server_context,
                 const v1::GenerateRequest* request, v1::GenerateResponse* response);

  void OnCancel() override;
  void OnDone() override;

 private:
  ~WholeInference() override = default;
  void Deliver(v1::GenerateResponse response) override;
  void Conclude() override { Finish(FinalStatus()); }

  v1::GenerateResponse* const response_;
  size_t num_bytes_ = 0;  // of the pieces
};

}  // namespace baton::gateway
