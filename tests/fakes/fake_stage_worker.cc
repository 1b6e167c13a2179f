#include "tests/fakes/fake_stage_worker.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"

#include "common/log/check.h"
#include "common/rpc/status_conversion.h"

namespace baton {
namespace {

constexpr absl::Duration kHeartbeat = absl::Milliseconds(100);

}  // namespace

std::unique_ptr<FakeStageWorker> FakeStageWorker::Start(FakeStageOptions options) {
  std::unique_ptr<FakeStageWorker> worker(new FakeStageWorker(std::move(options)));
  const std::string& address = worker->options_.scheduler_address;
  if (worker->options_.can_be_cut) {
    int port = 0;
    BATON_CHECK(absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port)) << address;
    worker->cuttable_ = CuttableChannel::Dial(port);
    BATON_CHECK(worker->cuttable_ != nullptr) << "nobody listens on " << address;
    worker->stub_ = v1::Stage::NewStub(worker->cuttable_->channel());
  } else {
    worker->stub_ =
        v1::Stage::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  }
  if (const absl::Duration time = worker->options_.time_to_live; time != absl::InfiniteDuration()) {
    worker->context_.set_deadline(absl::ToChronoTime(absl::Now() + time));
  }
  worker->stream_ = worker->stub_->Attach(&worker->context_);
  v1::WorkerMessage message;
  v1::RegisterStage* registration = message.mutable_register_();
  registration->mutable_peer()->mutable_version()->set_major(worker->options_.protocol_major);
  registration->mutable_peer()->set_role("stage-worker");
  registration->mutable_peer()->set_instance("fake-stage");
  if (worker->options_.stage_index.has_value()) {
    registration->set_stage_index(*worker->options_.stage_index);
  }
  registration->set_num_ranks(worker->options_.num_ranks);
  registration->set_backend("fake");
  worker->Send(std::move(message));
  worker->reader_ = std::thread([raw = worker.get()] { raw->Read(); });
  worker->beater_ = std::thread([raw = worker.get()] { raw->Beat(); });
  return worker;
}

FakeStageWorker::~FakeStageWorker() { Kill(); }

void FakeStageWorker::Kill() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  context_.TryCancel();
  Join();
}

void FakeStageWorker::Cut() {
  BATON_CHECK(cuttable_ != nullptr);
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  cuttable_->Cut();
  Join();
}

void FakeStageWorker::Join() {
  if (reader_.joinable()) reader_.join();
  if (beater_.joinable()) beater_.join();
}

void FakeStageWorker::Freeze() {
  absl::MutexLock lock(&mutex_);
  frozen_ = true;
}

void FakeStageWorker::HoldReports(uint64_t step_id) {
  absl::MutexLock lock(&mutex_);
  held_behind_ = step_id;
}

void FakeStageWorker::Release() {
  absl::MutexLock lock(&mutex_);
  held_behind_ = UINT64_MAX;
}

void FakeStageWorker::FaultNext(std::string message, bool caused_by_request) {
  absl::MutexLock lock(&mutex_);
  fault_ = std::move(message);
  fault_is_requests_ = caused_by_request;
  fault_is_overload_ = false;
}

void FakeStageWorker::OverloadNext(std::string message) {
  absl::MutexLock lock(&mutex_);
  fault_ = std::move(message);
  fault_is_requests_ = false;
  fault_is_overload_ = true;
}

void FakeStageWorker::Send(v1::WorkerMessage message) {
  absl::MutexLock lock(&mutex_);
  SendLocked(std::move(message));
}

void FakeStageWorker::SendLocked(v1::WorkerMessage message) {
  if (frozen_ || stopping_) return;
  message.set_sequence_number(next_number_++);
  stream_->Write(message);
}

void FakeStageWorker::Read() {
  v1::SchedulerMessage message;
  while (stream_->Read(&message)) {
    {
      absl::MutexLock lock(&mutex_);
      auto awake = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return !frozen_ || stopping_; };
      mutex_.Await(absl::Condition(&awake));
      if (stopping_) break;
      ++num_received_;
    }
    Answer(message);
  }
  const absl::Status status = FromGrpcStatus(stream_->Finish());
  absl::MutexLock lock(&mutex_);
  end_ = status;
  stopping_ = true;
}

void FakeStageWorker::Beat() {
  absl::MutexLock lock(&mutex_);
  while (!mutex_.AwaitWithTimeout(absl::Condition(&stopping_), kHeartbeat)) {
    v1::WorkerMessage message;
    message.mutable_heartbeat()->set_epoch(state_ == nullptr ? 0 : state_->epoch());
    SendLocked(std::move(message));
  }
}

void FakeStageWorker::Answer(const v1::SchedulerMessage& message) {
  if (message.has_step()) return AnswerStep(message.step());
  absl::MutexLock lock(&mutex_);
  v1::WorkerMessage answer;
  if (message.has_plan()) {
    plan_ = message.plan();
    FakeStageState::Options options;
    options.vocab_size = options_.vocab_size;
    options.block_tokens = plan_->block_tokens();
    options.max_step_tokens = plan_->max_step_tokens();
    options.max_step_sequences = plan_->max_step_sequences();
    options.samples = plan_->stage_index() + 1 == plan_->num_stages();
    state_ = std::make_unique<FakeStageState>(options);
    answer.mutable_ready()->set_num_blocks(options_.num_blocks);
    for (uint32_t rank = 0; rank < options_.num_ranks; ++rank) {
      v1::RankAddress* address = answer.mutable_ready()->add_addresses();
      address->set_rank(rank);
      address->set_ucx_address(absl::StrCat("stage ", plan_->stage_index(), " rank ", rank));
    }
    SendLocked(std::move(answer));
  } else if (message.has_topology()) {
    topology_ = message.topology();
    state_->Reset(message.topology().epoch(), message.topology().num_blocks());
    answer.mutable_joined()->set_epoch(message.topology().epoch());
    SendLocked(std::move(answer));
  } else if (message.has_heartbeat()) {
    ++num_heartbeats_;
  } else if (message.has_drain()) {
    stream_->WritesDone();
  }
}

bool FakeStageWorker::IsDeadly(const v1::StepCommand& command) const {
  if (!options_.deadly_token.has_value()) return false;
  return std::any_of(command.new_sequences().begin(), command.new_sequences().end(),
                     [this](const v1::NewSequence& sequence) {
                       return std::find(sequence.token_ids().begin(), sequence.token_ids().end(),
                                        *options_.deadly_token) != sequence.token_ids().end();
                     });
}

void FakeStageWorker::AnswerStep(const v1::StepCommand& command) {
  absl::MutexLock lock(&mutex_);
  if (IsDeadly(command)) {
    stopping_ = true;
    context_.TryCancel();
    return;
  }
  v1::WorkerMessage answer;
  *answer.mutable_report() = state_->Run(command);
  auto free = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return command.step_id() <= held_behind_ || stopping_;
  };
  mutex_.Await(absl::Condition(&free));
  if (!fault_.empty() && command.chunks_size() > 0) {
    v1::StepReport* report = answer.mutable_report();
    v1::SequenceFault* fault = report->add_faults();
    fault->set_sequence_id(command.chunks(0).sequence_id());
    fault->set_message(std::exchange(fault_, ""));
    fault->set_caused_by_request(fault_is_requests_);
    fault->set_overloaded(fault_is_overload_);
    if (report->tokens_size() > 0 &&
        report->tokens(0).sequence_id() == command.chunks(0).sequence_id()) {
      report->mutable_tokens()->DeleteSubrange(0, 1);
    }
  }
  if (command.epoch() == state_->epoch()) SendLocked(std::move(answer));
}

std::optional<absl::Status> FakeStageWorker::WaitForEnd(absl::Duration timeout) const {
  absl::MutexLock lock(&mutex_);
  auto ended = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return end_.has_value(); };
  mutex_.AwaitWithTimeout(absl::Condition(&ended), timeout);
  return end_;
}

bool FakeStageWorker::WaitForEpoch(uint64_t epoch, absl::Duration timeout) const {
  absl::MutexLock lock(&mutex_);
  auto reached = [this, epoch]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return state_ != nullptr && state_->epoch() >= epoch;
  };
  return mutex_.AwaitWithTimeout(absl::Condition(&reached), timeout);
}

bool FakeStageWorker::WaitForIdle(absl::Duration timeout) const {
  absl::MutexLock lock(&mutex_);
  auto idle = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return state_ != nullptr && state_->num_sequences() == 0 && state_->num_used_blocks() == 0;
  };
  return mutex_.AwaitWithTimeout(absl::Condition(&idle), timeout);
}

bool FakeStageWorker::WaitForStep(uint64_t step_id, absl::Duration timeout) const {
  absl::MutexLock lock(&mutex_);
  auto reached = [this, step_id]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return state_ != nullptr && state_->last_step_id() >= step_id;
  };
  return mutex_.AwaitWithTimeout(absl::Condition(&reached), timeout);
}

size_t FakeStageWorker::num_sequences() const {
  absl::MutexLock lock(&mutex_);
  return state_ == nullptr ? 0 : state_->num_sequences();
}

uint64_t FakeStageWorker::num_computed_tokens() const {
  absl::MutexLock lock(&mutex_);
  return state_ == nullptr ? 0 : state_->num_computed_tokens();
}

bool FakeStageWorker::WaitForHeartbeats(uint64_t count, absl::Duration timeout) const {
  absl::MutexLock lock(&mutex_);
  auto beaten = [this, count]()
                    ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return num_heartbeats_ >= count; };
  return mutex_.AwaitWithTimeout(absl::Condition(&beaten), timeout);
}

std::vector<std::string> FakeStageWorker::violations() const {
  absl::MutexLock lock(&mutex_);
  return state_ == nullptr ? std::vector<std::string>() : state_->violations();
}

std::optional<v1::StagePlan> FakeStageWorker::plan() const {
  absl::MutexLock lock(&mutex_);
  return plan_;
}

std::optional<v1::Topology> FakeStageWorker::topology() const {
  absl::MutexLock lock(&mutex_);
  return topology_;
}

}  // namespace baton
