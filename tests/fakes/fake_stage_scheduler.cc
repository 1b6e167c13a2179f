#include "tests/fakes/fake_stage_scheduler.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"

namespace baton::fakes {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(20);

bool IsChatter(const v1::WorkerMessage& message) {
  return message.has_heartbeat() || message.has_load_progress();
}

}  // namespace

FakeStageScheduler::FakeStageScheduler() {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
}

FakeStageScheduler::~FakeStageScheduler() {
  server_->Shutdown(absl::ToChronoTime(absl::Now()));
  server_->Wait();
}

std::string FakeStageScheduler::address() const { return absl::StrCat("127.0.0.1:", port_); }

grpc::Status FakeStageScheduler::Attach(grpc::ServerContext* context, Stream* stream) {
  {
    const absl::MutexLock lock(&mutex_);
    if (!refusal_.ok()) {
      ++num_refusals_;
      return refusal_;
    }
    stream_ = stream;
    context_ = context;
    ending_ = grpc::Status::OK;
    next_sequence_ = 0;
    ++num_sessions_;
  }
  v1::WorkerMessage message;
  for (bool is_first = true; stream->Read(&message); is_first = false) {
    if (is_first && !message.has_register_()) {
      const absl::MutexLock lock(&mutex_);
      ++num_early_messages_;
    }
    const absl::MutexLock lock(&mutex_);
    if (message.has_heartbeat()) last_heartbeat_ = message.heartbeat();
    if (IsChatter(message)) continue;
    received_.push_back(message);
  }
  const absl::MutexLock lock(&mutex_);
  // The worker may have begun the next session before this call has heard of its own end.
  if (stream_ == stream) {
    stream_ = nullptr;
    context_ = nullptr;
  }
  return ending_;
}

absl::StatusOr<v1::WorkerMessage> FakeStageScheduler::Next(v1::WorkerMessage::MessageCase kind) {
  const absl::MutexLock lock(&mutex_);
  const auto some = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !received_.empty(); };
  if (!mutex_.AwaitWithTimeout(absl::Condition(&some), kPatience)) {
    return absl::DeadlineExceededError(absl::StrCat("no message of kind ", kind));
  }
  v1::WorkerMessage message = std::move(received_.front());
  received_.pop_front();
  if (message.message_case() != kind) {
    return absl::FailedPreconditionError(
        absl::StrCat("wanted kind ", kind, ", got ", message.ShortDebugString()));
  }
  return message;
}

std::optional<v1::Heartbeat> FakeStageScheduler::WaitForHeartbeat(
    const std::function<bool(const v1::Heartbeat&)>& condition) {
  const absl::MutexLock lock(&mutex_);
  const auto holds = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return condition(last_heartbeat_); };
  if (!mutex_.AwaitWithTimeout(absl::Condition(&holds), kPatience)) return std::nullopt;
  return last_heartbeat_;
}

void FakeStageScheduler::Send(v1::SchedulerMessage message) {
  const absl::MutexLock lock(&mutex_);
  if (stream_ == nullptr) return;
  message.set_sequence_number(next_sequence_++);
  stream_->Write(message);
}

void FakeStageScheduler::EndSession(const grpc::Status& status) {
  const absl::MutexLock lock(&mutex_);
  ending_ = status;
  if (context_ != nullptr) context_->TryCancel();
}

void FakeStageScheduler::Refuse(const grpc::Status& status) {
  const absl::MutexLock lock(&mutex_);
  refusal_ = status;
}

bool FakeStageScheduler::WaitForRefusal() {
  const absl::MutexLock lock(&mutex_);
  const auto refused = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return num_refusals_ > 0; };
  return mutex_.AwaitWithTimeout(absl::Condition(&refused), kPatience);
}

int FakeStageScheduler::num_sessions() const {
  const absl::MutexLock lock(&mutex_);
  return num_sessions_;
}

int FakeStageScheduler::num_early_messages() const {
  const absl::MutexLock lock(&mutex_);
  return num_early_messages_;
}

bool FakeStageScheduler::WaitForSessionEnd() {
  const absl::MutexLock lock(&mutex_);
  const auto ended = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stream_ == nullptr; };
  return mutex_.AwaitWithTimeout(absl::Condition(&ended), kPatience);
}

}  // namespace baton::fakes
