#include "tests/fakes/fake_scheduler.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/server_builder.h"

#include "common/concurrency/steady_time.h"
#include "tests/fakes/fake_tokens.h"

namespace baton {
namespace {

// A blocked call looks this often whether its caller is still there.
constexpr absl::Duration kCancelCheck = absl::Milliseconds(10);
constexpr absl::Duration kHeartbeatInterval = absl::Milliseconds(250);

v1::GeneratedToken MakeToken(uint32_t token_id, const v1::SamplingParams& sampling,
                             uint32_t vocab_size) {
  v1::GeneratedToken token;
  token.set_token_id(token_id);
  if (!sampling.logprobs()) return token;
  v1::PositionLogprobs* logprobs = token.mutable_logprobs();
  logprobs->mutable_token()->set_token_id(token_id);
  logprobs->mutable_token()->set_logprob(-0.5f);
  logprobs->mutable_token()->set_rank(1);
  for (uint32_t i = 0; i < sampling.num_top_logprobs(); ++i) {
    v1::TokenLogprob* top = logprobs->add_top();
    top->set_token_id((token_id + i) % vocab_size);
    top->set_logprob(-0.5f - static_cast<float>(i));
    top->set_rank(i + 1);
  }
  return token;
}

// The token itself has rank 2, behind the one that is preferred.
v1::PositionLogprobs MakePromptLogprobs(uint32_t token_id, uint32_t num_top) {
  v1::PositionLogprobs logprobs;
  const auto fill = [](uint32_t id, float logprob, uint32_t rank, v1::TokenLogprob* token) {
    token->set_token_id(id);
    token->set_logprob(logprob);
    token->set_rank(rank);
  };
  fill(token_id, -2.0f, 2, logprobs.mutable_token());
  const uint32_t best = FakeScheduler::PreferredOver(token_id);
  for (uint32_t rank = 1; rank <= num_top; ++rank) {
    if (rank == 1) fill(best, -0.25f, rank, logprobs.add_top());
    if (rank == 2) fill(token_id, -2.0f, rank, logprobs.add_top());
    if (rank > 2) fill(best + rank, -1.0f - static_cast<float>(rank), rank, logprobs.add_top());
  }
  return logprobs;
}

}  // namespace

std::unique_ptr<FakeScheduler> FakeScheduler::Start(FakeSchedulerOptions options) {
  std::unique_ptr<FakeScheduler> fake(new FakeScheduler(std::move(options)));
  grpc::ServerBuilder builder;
  builder.AddListeningPort(fake->options_.listen_address, grpc::InsecureServerCredentials(),
                           &fake->port_);
  builder.RegisterService(fake.get());
  fake->server_ = builder.BuildAndStart();
  return fake;
}

FakeScheduler::~FakeScheduler() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  if (server_ == nullptr) return;
  server_->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
  server_->Wait();
}

std::string FakeScheduler::address() const { return absl::StrCat("127.0.0.1:", port_); }

void FakeScheduler::PushAnswer(FakeAnswer answer) {
  absl::MutexLock lock(&mutex_);
  answers_.push_back(std::move(answer));
}

void FakeScheduler::HoldAfter(size_t num_tokens) {
  absl::MutexLock lock(&mutex_);
  hold_after_ = num_tokens;
}

void FakeScheduler::Release() { HoldAfter(SIZE_MAX); }

void FakeScheduler::Freeze() {
  absl::MutexLock lock(&mutex_);
  frozen_ = true;
}

void FakeScheduler::SetReady(bool ready) {
  absl::MutexLock lock(&mutex_);
  if (ready && !ready_) ++epoch_;
  ready_ = ready;
  ++state_version_;
}

std::vector<v1::SubmitRequest> FakeScheduler::requests() const {
  absl::MutexLock lock(&mutex_);
  return requests_;
}

std::vector<std::string> FakeScheduler::traceparents() const {
  absl::MutexLock lock(&mutex_);
  return traceparents_;
}

bool FakeScheduler::WaitForCancelled(size_t count, absl::Duration timeout) const {
  absl::MutexLock lock(&mutex_);
  auto reached = [this, count]()
                     ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return num_cancelled_ >= count; };
  return mutex_.AwaitWithTimeout(absl::Condition(&reached), timeout);
}

bool FakeScheduler::WaitForRequests(size_t count, absl::Duration timeout) const {
  absl::MutexLock lock(&mutex_);
  auto reached = [this, count]()
                     ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return requests_.size() >= count; };
  return mutex_.AwaitWithTimeout(absl::Condition(&reached), timeout);
}

std::vector<size_t> FakeScheduler::num_sent() const {
  absl::MutexLock lock(&mutex_);
  return num_sent_;
}

size_t FakeScheduler::num_open() const {
  absl::MutexLock lock(&mutex_);
  return num_open_;
}

grpc::Status FakeScheduler::Submit(grpc::ServerContext* context, const v1::SubmitRequest* request,
                                   grpc::ServerWriter<v1::SubmitResponse>* writer) {
  size_t index = 0;
  {
    absl::MutexLock lock(&mutex_);
    index = requests_.size();
    num_sent_.push_back(0);
    requests_.push_back(*request);
    const auto trace = context->client_metadata().find("traceparent");
    traceparents_.push_back(trace == context->client_metadata().end()
                                ? ""
                                : std::string(trace->second.data(), trace->second.size()));
    ++num_open_;
  }
  grpc::Status status = SendAnswer(context, *request, index, writer);
  absl::MutexLock lock(&mutex_);
  --num_open_;
  // A write fails at a cancellation before the context knows of it.
  const bool cancelled = context->IsCancelled() || status.error_code() == grpc::CANCELLED;
  if (cancelled && !stopping_) ++num_cancelled_;
  return status;
}

FakeAnswer FakeScheduler::TakeAnswer(const v1::SubmitRequest& request) {
  absl::MutexLock lock(&mutex_);
  if (!answers_.empty()) {
    FakeAnswer answer = std::move(answers_.front());
    answers_.pop_front();
    return answer;
  }
  std::vector<uint32_t> tokens(request.prompt_token_ids().begin(),
                               request.prompt_token_ids().end());
  tokens.insert(tokens.end(), request.resumed_token_ids().begin(),
                request.resumed_token_ids().end());
  const uint32_t num_resumed = request.resumed_token_ids_size();
  const uint32_t wanted = std::max(request.stop().max_tokens(), num_resumed) - num_resumed;
  FakeAnswer answer;
  answer.token_ids =
      FakeContinuation(tokens, request.sampling().seed(), options_.vocab_size, wanted);
  answer.finish_reason = v1::FINISH_REASON_LENGTH;
  return answer;
}

bool FakeScheduler::WaitWhileHeld(grpc::ServerContext* context, size_t num_sent) {
  absl::MutexLock lock(&mutex_);
  auto free = [this, num_sent]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return (num_sent < hold_after_ && !frozen_) || stopping_;
  };
  while (!mutex_.AwaitWithTimeout(absl::Condition(&free), kCancelCheck)) {
    if (context->IsCancelled()) return false;
  }
  return !stopping_;
}

grpc::Status FakeScheduler::Write(const v1::SubmitResponse& response,
                                  grpc::ServerWriter<v1::SubmitResponse>* writer) const {
  const absl::Time before = SteadyNow();
  if (!writer->Write(response)) return grpc::Status::CANCELLED;
  if (SteadyNow() - before < options_.reader_stall_timeout) return grpc::Status::OK;
  return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED,
                      absl::StrCat("the caller has taken none of its tokens for ",
                                   absl::FormatDuration(options_.reader_stall_timeout)));
}

grpc::Status FakeScheduler::SendAnswer(grpc::ServerContext* context,
                                       const v1::SubmitRequest& request, size_t index,
                                       grpc::ServerWriter<v1::SubmitResponse>* writer) {
  FakeAnswer answer = TakeAnswer(request);
  const size_t max_tokens = request.stop().max_tokens();
  if (max_tokens > 0 && answer.token_ids.size() > max_tokens) {
    answer.token_ids.resize(max_tokens);
    answer.finish_reason = v1::FINISH_REASON_LENGTH;
  }
  v1::SubmitResponse response;
  response.set_cached_prompt_tokens(answer.num_cached);
  const v1::SamplingParams& sampling = request.sampling();
  for (int i = 1; i < request.prompt_token_ids_size(); ++i) {
    if (!sampling.has_num_prompt_logprobs()) break;
    *response.add_prompt_logprobs() =
        MakePromptLogprobs(request.prompt_token_ids(i), sampling.num_prompt_logprobs());
  }
  uint64_t sequence_number = 0;
  size_t num_sent = 0;
  for (uint32_t token_id : answer.token_ids) {
    if (!WaitWhileHeld(context, num_sent)) return grpc::Status::CANCELLED;
    *response.add_tokens() = MakeToken(token_id, request.sampling(), options_.vocab_size);
    ++num_sent;
    if (static_cast<uint32_t>(response.tokens_size()) < options_.tokens_per_message) continue;
    response.set_sequence_number(sequence_number++);
    if (grpc::Status written = Write(response, writer); !written.ok()) return written;
    response.Clear();
    absl::MutexLock lock(&mutex_);
    num_sent_[index] = num_sent;
  }
  if (!WaitWhileHeld(context, num_sent)) return grpc::Status::CANCELLED;
  if (answer.status.ok()) response.set_finish_reason(answer.finish_reason);
  if (answer.status.ok() || response.tokens_size() > 0) {
    response.set_sequence_number(sequence_number);
    if (grpc::Status written = Write(response, writer); !written.ok()) return written;
  }
  if (answer.retry_after_ms > 0) {
    context->AddTrailingMetadata("retry-after-ms", absl::StrCat(answer.retry_after_ms));
  }
  if (answer.closed_for_us > 0) {
    context->AddTrailingMetadata("closed-for-us", absl::StrCat(answer.closed_for_us));
  }
  return grpc::Status(static_cast<grpc::StatusCode>(answer.status.code()),
                      std::string(answer.status.message()));
}

v1::GroupState FakeScheduler::StateLocked() const {
  v1::GroupState state;
  state.set_ready(ready_);
  state.set_epoch(epoch_);
  v1::StageState* stage = state.add_stages();
  stage->set_phase(ready_ ? v1::STAGE_PHASE_READY : v1::STAGE_PHASE_ABSENT);
  stage->set_instance(ready_ ? "fake-stage:0" : "");
  state.set_num_running(num_open_);
  state.set_num_total_blocks(options_.max_model_len / 64);
  state.set_max_model_len(options_.max_model_len);
  state.set_model_fingerprint(options_.model_fingerprint);
  return state;
}

grpc::Status FakeScheduler::WatchGroup(grpc::ServerContext* context, const v1::WatchGroupRequest*,
                                       grpc::ServerWriter<v1::GroupState>* writer) {
  uint64_t seen = 0;
  absl::Time last_beat = absl::InfinitePast();
  while (!context->IsCancelled()) {
    v1::GroupState state;
    {
      absl::MutexLock lock(&mutex_);
      auto news = [this, &seen]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
        return state_version_ != seen || stopping_;
      };
      const bool has_news = mutex_.AwaitWithTimeout(absl::Condition(&news), kCancelCheck);
      if (stopping_) break;
      if (frozen_ || (!has_news && absl::Now() - last_beat < kHeartbeatInterval)) continue;
      last_beat = absl::Now();
      seen = state_version_;
      state = StateLocked();
    }
    if (!writer->Write(state)) break;
  }
  return grpc::Status::OK;
}

}  // namespace baton
