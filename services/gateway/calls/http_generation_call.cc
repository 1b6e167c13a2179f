#include "services/gateway/calls/http_generation_call.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/concurrency/steady_time.h"
#include "common/log/log.h"
#include "common/status/status_macros.h"
#include "services/gateway/admission/refusal.h"
#include "services/gateway/admission/request_headers.h"
#include "services/gateway/answers/interval_writer.h"
#include "services/gateway/answers/random_id.h"
#include "services/gateway/calls/request_checks.h"
#include "services/gateway/http/sse.h"

namespace baton::gateway {
namespace {

absl::Duration Since(MonotonicTime begin) {
  return absl::FromChrono(std::chrono::steady_clock::now() - begin);
}

}  // namespace

HttpGenerationCall::HttpGenerationCall(const GatewayContext& context, HttpExchange& exchange,
                                       Options options)
    : context_(context),
      exchange_(exchange),
      options_(std::move(options)),
      self_(std::make_shared<HttpGenerationCall*>(this)) {
  const std::string& given = exchange.request().request_id;
  scope_.id = given.empty() ? RandomId(options_.id_prefix) : options_.id_prefix + given;
  scope_.arrival = exchange.request().received;
  scope_.arrival_tick = exchange.request().received_tick;
}

HttpGenerationCall::~HttpGenerationCall() { *self_ = nullptr; }

absl::Status HttpGenerationCall::ReadHeaders() {
  const HttpRequest& request = exchange_.request();
  ASSIGN_OR_RETURN(scope_.caller, context_.api_keys.Identify(CredentialsOf(request)));
  ASSIGN_OR_RETURN(scope_.priority, ParsePriority(request.priority));
  ASSIGN_OR_RETURN(const absl::Duration timeout,
                   ParseRequestTimeout(request.timeout, context_.request_timeout));
  scope_.deadline = DeadlineOf(request, timeout);
  scope_.trace = ReadTraceContext(request.traceparent, request.tracestate);
  return absl::OkStatus();
}

int32_t HttpGenerationCall::HeaderPriority() const {
  return scope_.caller.PriorityOf(scope_.priority.value_or(0));
}

absl::Status HttpGenerationCall::CheckGate() {
  // A body may say another priority than the header; what it says is not known yet.
  gated_ = !MayNameField(exchange_.request().body, {"\"priority\""});
  if (!gated_) return absl::OkStatus();
  return context_.gate.Check(scope_.caller.name, HeaderPriority(), scope_.arrival_tick);
}

absl::Status HttpGenerationCall::TakePlace() {
  ASSIGN_OR_RETURN(RequestSlots::Slot slot,
                   context_.slots.Acquire(scope_.caller.name, scope_.caller.limits.num_requests));
  RETURN_IF_ERROR(context_.rate_limits.TakeRequest(scope_.caller, context_.rate_clock()));
  num_paid_tokens_ = 0;
  slot_.emplace(std::move(slot));
  return absl::OkStatus();
}

absl::Status HttpGenerationCall::TakePrompts(const PreparedGeneration& prepared) {
  uint64_t num_tokens = 0;
  for (size_t i = 0; i < prepared.sequences.size(); i += prepared.choices_per_prompt) {
    num_tokens += static_cast<uint64_t>(prepared.sequences[i].submit.prompt_token_ids_size());
  }
  RETURN_IF_ERROR(
      context_.rate_limits.TakePrompt(scope_.caller, num_tokens, context_.rate_clock()));
  num_paid_tokens_ = num_tokens;
  return absl::OkStatus();
}

HttpHeaders HttpGenerationCall::AnswerHeaders() const {
  HttpHeaders headers = context_.rate_limits.Headers(scope_.caller, context_.rate_clock());
  // As sent; else what stands behind the prefix of the answer's id.
  const std::string& sent = exchange_.request().sent_request_id;
  headers.emplace_back("X-Request-Id",
                       sent.empty() ? scope_.id.substr(options_.id_prefix.size()) : sent);
  headers.insert(headers.end(), prepared_.headers.begin(), prepared_.headers.end());
  return headers;
}

void HttpGenerationCall::Start() {
  if (absl::Status read = ReadHeaders(); !read.ok()) return Fail(read);
  if (absl::Status refused = CheckGate(); !refused.ok()) {
    context_.metrics.CountEarlyRefusal();
    return Fail(refused);
  }
  if (absl::Status taken = TakePlace(); !taken.ok()) return Fail(taken);
  context_.metrics.SetLiveRequests(context_.slots.num_taken());
  NameRequest();
  if (BelongsToTextWorker(exchange_.request().body)) return PrepareOnWorker();
  Run(options_.prepare(context_, exchange_.request(), scope_));
}

void HttpGenerationCall::NameRequest() {
  entry_ = LiveRequests::Entry(&context_.live_requests, scope_.caller.name, scope_.id,
                               [this](const absl::Status& reason) { Fail(reason); });
}

// A request at the text worker. The call may end while the worker is at it: then the slot goes when
// this goes, for until then the request costs memory and time.
struct HttpGenerationCall::LongRequest {
  HttpRequest request;
  uint64_t job = 0;                        // its name in the queue
  std::optional<RequestSlots::Slot> slot;  // the loop's
  HttpGenerationCall* call = nullptr;      // the loop's; null once the call has ended
  absl::StatusOr<PreparedGeneration> prepared = absl::UnknownError("not prepared");
};

void HttpGenerationCall::PrepareOnWorker() {
  auto shared = std::make_shared<LongRequest>();
  shared->request = exchange_.request();
  shared->call = this;
  const auto work = [shared, &context = context_, prepare = options_.prepare, scope = scope_] {
    const absl::Status wanted = CheckEncodeDeadline(scope.deadline);
    if (wanted.ok()) {
      shared->prepared = prepare(context, shared->request, scope);
    } else {
      shared->prepared = wanted;
    }
    context.loop.Post([shared, &context] {
      HttpGenerationCall* const call = shared->call;
      if (call == nullptr) {  // ended meanwhile
        shared->slot.reset();
        return context.metrics.SetLiveRequests(context.slots.num_taken());
      }
      call->slot_.emplace(std::move(*shared->slot));
      call->long_request_.reset();
      call->Run(std::move(shared->prepared));
    });
  };
  const absl::StatusOr<uint64_t> queued =
      context_.text_queue.Post(scope_.caller.name, shared->request.body.size(), work);
  if (!queued.ok()) return Fail(queued.status());
  shared->job = *queued;
  shared->slot.emplace(std::move(*slot_));
  slot_.reset();
  long_request_ = std::move(shared);
  WatchDeadline();
}

void HttpGenerationCall::WatchDeadline() {
  const absl::Duration left = scope_.deadline - SteadyNow();
  context_.loop.PostAfter(std::clamp(left, absl::ZeroDuration(), TextQueue::kDeadlineWatch),
                          [self = self_] {
                            HttpGenerationCall* const call = *self;
                            if (call == nullptr || call->long_request_ == nullptr) return;
                            const absl::Status in_time = CheckEncodeDeadline(call->scope_.deadline);
                            if (!in_time.ok()) return call->Fail(in_time);
                            call->WatchDeadline();
                          });
}

void HttpGenerationCall::Run(absl::StatusOr<PreparedGeneration> prepared) {
  if (!prepared.ok()) return Fail(prepared.status());
  if (absl::Status accepting = context_.group.CheckAccepting(); !accepting.ok()) {
    return Fail(accepting);
  }
  if (absl::Status taken = slot_->Extend(prepared->sequences.size()); !taken.ok()) {
    return Fail(taken);
  }
  if (absl::Status paid = TakePrompts(*prepared); !paid.ok()) return Fail(paid);
  context_.metrics.SetLiveRequests(context_.slots.num_taken());
  prepared_ = std::move(*prepared);
  if (prepared_.stream && prepared_.stream_interval > 1) {
    prepared_.writer = std::make_unique<IntervalWriter>(
        std::move(prepared_.writer), prepared_.sequences.size(), prepared_.stream_interval);
  }
  if (!prepared_.id.empty() && prepared_.id != scope_.id) {
    scope_.id = prepared_.id;
    NameRequest();
  }
  num_running_ = prepared_.sequences.size();
  for (SequenceSpec& spec : prepared_.sequences) {
    sequences_.push_back(std::make_unique<GenerateCall>(context_.scheduler,
                                                        *context_.model.text.tokenizer,
                                                        context_.metrics, *this, std::move(spec)));
  }
  prepared_.sequences.clear();
  counted_.resize(sequences_.size());
  least_cached_.resize(sequences_.size() / prepared_.choices_per_prompt);
  for (size_t i = 0; i < sequences_.size(); ++i) CountUsage(i);  // the prompts
  for (auto& sequence : sequences_) sequence->Start();
  if (prepared_.stream && context_.sse_keep_alive > absl::ZeroDuration()) KeepAliveLater();
}

void HttpGenerationCall::KeepAliveLater() {
  context_.loop.PostAfter(context_.sse_keep_alive, [self = self_] {
    HttpGenerationCall* const call = *self;
    if (call == nullptr || call->ended_) return;
    // From here on a failure is an event: the answer has begun with 200.
    if (!call->wrote_ && call->exchange_.unsent_bytes() == 0) call->WriteEvents(kSseKeepAlive);
    call->wrote_ = false;
    call->KeepAliveLater();
  });
}

void HttpGenerationCall::OnUpdate(size_t index, SequenceUpdate& update) {
  if (ended_) return;
  CountUsage(index);
  if (!update.tokens.empty() && !first_token_after_) {
    first_token_after_ = Since(scope_.arrival_tick);
  }
  const bool last_of_choice = update.finish_reason != v1::FINISH_REASON_UNSPECIFIED;
  if (last_of_choice) --num_running_;
  if (!prepared_.stream) {
    prepared_.writer->Collect(index, update);
    const absl::Status fits =
        CheckWholeAnswer(prepared_.writer->collected_bytes(), context_.max_whole_answer_bytes);
    if (!fits.ok()) return Fail(fits);
  } else {
    std::string events;
    prepared_.writer->Delta(index, update, UsageOf(index), &events);
    if (num_running_ == 0) prepared_.writer->Finish(usage_, &events);
    WriteEvents(events);
  }
  if (num_running_ == 0) Complete();
}

void HttpGenerationCall::WriteEvents(absl::string_view events) {
  if (events.empty()) return;
  wrote_ = true;
  if (!std::exchange(stream_started_, true)) {
    HttpHeaders headers = AnswerHeaders();
    headers.emplace_back("Cache-Control", "no-cache");
    exchange_.StartStream(200, kSseContentType, headers);
  }
  exchange_.Write(events);
  if (exchange_.unsent_bytes() >= exchange_.max_unsent_bytes()) SetPaused(true);
}

void HttpGenerationCall::OnWritable() { SetPaused(false); }

void HttpGenerationCall::SetPaused(bool paused) {
  if (ended_ || paused_ == paused) return;
  paused_ = paused;
  if (paused) {
    paused_bytes_ = exchange_.unsent_bytes();
    context_.metrics.BeginPause(paused_bytes_);
  } else {
    context_.metrics.EndPause(paused_bytes_);
  }
  // Resuming delivers what has waited at once, which may pause again or end the call. Who made it
  // pause is last in turn the next time: it may always have more than the client takes.
  const size_t first = paused ? 0 : next_resumed_;
  for (size_t i = 0; i < sequences_.size(); ++i) {
    if (ended_ || paused_ != paused) return;
    const size_t index = (first + i) % sequences_.size();
    if (!paused) next_resumed_ = (index + 1) % sequences_.size();
    sequences_[index]->SetPaused(paused);
  }
}

void HttpGenerationCall::Complete() {
  if (prepared_.stream) {
    exchange_.EndStream();
  } else {
    HttpResponse response;
    response.headers = AnswerHeaders();
    response.body = prepared_.writer->Body(usage_);
    exchange_.Send(std::move(response));
  }
  LogEnd(200, "complete");
}

void HttpGenerationCall::OnFailure(size_t, const absl::Status& status) {
  if (ended_) return;
  if (gated_) {
    context_.gate.Learn(scope_.caller.name, HeaderPriority(), status,
                        std::chrono::steady_clock::now());
  }
  Fail(status);
}

void HttpGenerationCall::Abort(const absl::Status& reason) {
  if (!ended_) Fail(reason);
}

void HttpGenerationCall::Fail(const absl::Status& status) {
  if (num_paid_tokens_ && usage_.num_generated_tokens == 0) {
    context_.rate_limits.GiveBack(scope_.caller, *num_paid_tokens_, status, context_.rate_clock());
  }
  std::string reason = RefusalReason(status);
  context_.metrics.CountRefusal(reason.empty() ? absl::StatusCodeToString(status.code()) : reason);
  if (!stream_started_) {
    HttpResponse response = options_.errors.response(status);
    const HttpHeaders headers = AnswerHeaders();
    response.headers.insert(response.headers.end(), headers.begin(), headers.end());
    const int http_status = response.status;
    exchange_.Send(std::move(response));
    if (http_status == 429 || http_status == 503) {
      context_.metrics.RecordTurnedAway(Since(scope_.arrival_tick));
    }
    return LogEnd(http_status, status.message());
  }
  // The stream has begun with 200. The error is its last event, and its framing stays open: a clean
  // end would look like a complete answer to clients that do not wait for [DONE].
  std::string events;
  prepared_.writer->Flush(&events);  // the client has paid for it
  options_.errors.append_event(status, &events);
  exchange_.Write(events);
  exchange_.BreakStream();
  LogEnd(200, absl::StrCat("broken off: ", status.message()));
}

void HttpGenerationCall::OnDisconnect(Departure how) {
  if (ended_) return;
  context_.metrics.CountDisconnect();
  if (how == Departure::kClosed) return LogEnd(499, "the client closed the connection");
  context_.metrics.CountStalledClient();
  LogEnd(499, "the client stopped reading");
}

void HttpGenerationCall::LogEnd(int http_status, absl::string_view outcome) {
  const RequestUsage& usage = usage_;
  ended_ = true;
  if (paused_) context_.metrics.EndPause(paused_bytes_);
  RecordRequests();
  sequences_.clear();  // cancels what still runs
  entry_ = LiveRequests::Entry();
  slot_.reset();
  if (long_request_ != nullptr) {
    long_request_->call = nullptr;
    if (context_.text_queue.Remove(long_request_->job)) long_request_->slot.reset();
    long_request_.reset();
  }
  context_.metrics.SetLiveRequests(context_.slots.num_taken());
  context_.metrics.CountHttpAnswer(options_.route, "POST", http_status);
  if (!context_.log_requests) return;
  BATON_LOG(INFO) << options_.route << " " << scope_.id << " " << http_status << " "
                  << (prepared_.stream ? "stream " : "") << "prompt=" << usage.num_prompt_tokens
                  << " generated=" << usage.num_generated_tokens << " first_token_ms="
                  << (first_token_after_ ? absl::ToInt64Milliseconds(*first_token_after_) : -1)
                  << " total_ms=" << absl::ToInt64Milliseconds(Since(scope_.arrival_tick)) << ": "
                  << outcome;
}

// A prompt and its choices are a request to vLLM's metrics.
void HttpGenerationCall::RecordRequests() {
  const size_t num_choices = prepared_.choices_per_prompt;
  for (size_t begin = 0; begin + num_choices <= sequences_.size(); begin += num_choices) {
    uint32_t longest = 0;
    for (size_t i = begin; i < begin + num_choices; ++i) {
      longest = std::max(longest, sequences_[i]->usage().num_generated_tokens);
    }
    context_.metrics.vllm().RecordRequest(static_cast<uint32_t>(num_choices), longest);
  }
}

RequestUsage HttpGenerationCall::UsageOf(size_t index) const {
  const SequenceUsage& usage = counted_[index];
  return {.num_prompt_tokens = usage.num_prompt_tokens,
          .num_cached_tokens = least_cached_[index / prepared_.choices_per_prompt].value_or(0),
          .num_generated_tokens = usage.num_generated_tokens,
          .num_reasoning_tokens = usage.num_reasoning_tokens};
}

// Adds what is new in a sequence to the totals of the request, and to what its key has used.
void HttpGenerationCall::CountUsage(size_t index) {
  const SequenceUsage& now = sequences_[index]->usage();
  SequenceUsage& before = counted_[index];
  if (index % prepared_.choices_per_prompt == 0) {
    usage_.num_prompt_tokens += now.num_prompt_tokens - before.num_prompt_tokens;
  }
  if (now.num_generated_tokens > 0) {
    // Choices find what the first of them computes: only what all of them found was there before.
    std::optional<uint32_t>& least = least_cached_[index / prepared_.choices_per_prompt];
    const uint32_t cached = std::min(now.num_cached_tokens, least.value_or(UINT32_MAX));
    usage_.num_cached_tokens = usage_.num_cached_tokens - least.value_or(0) + cached;
    least = cached;
  }
  const uint32_t num_new_tokens = now.num_generated_tokens - before.num_generated_tokens;
  if (num_new_tokens > 0) {
    context_.rate_limits.ChargeAnswer(scope_.caller, num_new_tokens, context_.rate_clock());
  }
  usage_.num_generated_tokens += num_new_tokens;
  usage_.num_reasoning_tokens += now.num_reasoning_tokens - before.num_reasoning_tokens;
  before = now;
}

}  // namespace baton::gateway
