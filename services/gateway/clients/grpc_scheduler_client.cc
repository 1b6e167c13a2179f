#include "services/gateway/clients/grpc_scheduler_client.h"

#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/time/clock.h"

#include "common/concurrency/steady_time.h"
#include "common/log/log.h"
#include "common/rpc/status_conversion.h"
#include "common/status/status_macros.h"
#include "services/gateway/admission/early_gate.h"
#include "services/gateway/admission/refusal.h"
#include "services/gateway/clients/inbox_reader.h"

namespace baton::gateway {
namespace {

// What gRPC says about a broken connection names addresses, which are not for clients: that goes to
// the log. What the scheduler itself says passes unchanged.
absl::Status HideTransport(const grpc::Status& status) {
  absl::Status converted = FromGrpcStatus(status);
  if (!absl::IsUnavailable(converted)) return converted;
  for (const char* sign : {"ipv4:", "ipv6:", "unix:", "Socket closed", "failed to connect",
                           "keepalive", "GOAWAY", "Connection reset", "Broken pipe"}) {
    if (!absl::StrContains(converted.message(), sign)) continue;
    BATON_LOG(WARNING) << "connection to the scheduler: " << converted.message();
    return absl::UnavailableError("the scheduler cannot be reached");
  }
  return converted;
}

// A number, at least 0, of the trailing metadata.
std::optional<int64_t> Trailer(const grpc::ClientContext& context, const char* name) {
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto found = trailers.find(name);
  int64_t value = 0;
  if (found == trailers.end() ||
      !absl::SimpleAtoi(absl::string_view(found->second.data(), found->second.size()), &value) ||
      value < 0) {
    return std::nullopt;
  }
  return value;
}

// Status of a finished Submit with what the scheduler said about retrying.
absl::Status SubmitStatus(const grpc::Status& status, const grpc::ClientContext& context) {
  absl::Status converted = HideTransport(status);
  if (converted.ok()) return converted;
  if (const auto retry = Trailer(context, "retry-after-ms"); retry.has_value()) {
    converted = WithRetryAfter(std::move(converted), absl::Milliseconds(*retry));
  }
  if (const auto closed = Trailer(context, "closed-for-us"); closed.has_value()) {
    converted = WithClosedFor(std::move(converted), absl::Microseconds(*closed));
  }
  return converted;
}

class GrpcSubmitStream final : public SubmitStream {
 public:
  explicit GrpcSubmitStream(std::shared_ptr<InboxReader<v1::SubmitResponse>> reader)
      : reader_(std::move(reader)) {}
  ~GrpcSubmitStream() override {
    if (!finished_) reader_->Cancel();
  }
  void SetPaused(bool paused) override { reader_->SetPaused(paused); }
  void Finish() override {
    finished_ = true;
    reader_->Detach();
  }

 private:
  bool finished_ = false;
  const std::shared_ptr<InboxReader<v1::SubmitResponse>> reader_;
};

class GrpcGroupStream final : public GroupStream {
 public:
  explicit GrpcGroupStream(std::shared_ptr<InboxReader<v1::GroupState>> reader)
      : reader_(std::move(reader)) {}
  ~GrpcGroupStream() override { reader_->Cancel(); }

 private:
  const std::shared_ptr<InboxReader<v1::GroupState>> reader_;
};

}  // namespace

GrpcSchedulerClient::GrpcSchedulerClient(std::shared_ptr<grpc::Channel> channel, v1::PeerInfo self,
                                         Executor& executor)
    : stub_(v1::Scheduling::NewStub(channel)), self_(std::move(self)), executor_(executor) {}

std::unique_ptr<SubmitStream> GrpcSchedulerClient::Submit(const v1::SubmitRequest& request,
                                                          const SubmitOptions& options,
                                                          SubmitObserver& observer) {
  auto reader = std::make_shared<InboxReader<v1::SubmitResponse>>(
      executor_, completions_, open_calls_,
      InboxReader<v1::SubmitResponse>::Listener{
          [&observer](std::vector<v1::SubmitResponse>& messages) {
            observer.OnResponses(messages);
          },
          [&observer](const grpc::Status& status, const grpc::ClientContext& context) {
            observer.OnDone(SubmitStatus(status, context));
          }});
  if (options.deadline < absl::InfiniteFuture()) {
    // gRPC speaks of the time of day.
    reader->context().set_deadline(
        absl::ToChronoTime(absl::Now() + (options.deadline - SteadyNow())));
  }
  if (!options.trace.parent.empty()) {
    reader->context().AddMetadata("traceparent", options.trace.parent);
    if (!options.trace.state.empty()) {
      reader->context().AddMetadata("tracestate", options.trace.state);
    }
  }
  v1::SubmitRequest message = request;
  *message.mutable_peer() = self_;
  reader->Begin(stub_->PrepareAsyncSubmit(&reader->context(), message, completions_.queue()));
  return std::make_unique<GrpcSubmitStream>(std::move(reader));
}

std::unique_ptr<GroupStream> GrpcSchedulerClient::WatchGroup(GroupStateCallback on_state,
                                                             GroupLostCallback on_lost) {
  auto reader = std::make_shared<InboxReader<v1::GroupState>>(
      executor_, completions_, open_calls_,
      InboxReader<v1::GroupState>::Listener{
          // Only the latest state counts.
          [on_state = std::move(on_state)](std::vector<v1::GroupState>& messages) {
            on_state(messages.back());
          },
          [on_lost = std::move(on_lost)](const grpc::Status& status, const grpc::ClientContext&) {
            on_lost(Annotate(HideTransport(status), "watching the scheduler"));
          }});
  reader->context().set_wait_for_ready(true);
  v1::WatchGroupRequest request;
  *request.mutable_peer() = self_;
  reader->Begin(stub_->PrepareAsyncWatchGroup(&reader->context(), request, completions_.queue()));
  return std::make_unique<GrpcGroupStream>(std::move(reader));
}

}  // namespace baton::gateway
