#include "services/scheduler/calls/submit_call.h"

#include <chrono>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "common/rpc/reader_limits.h"
#include "common/rpc/status_conversion.h"
#include "services/scheduler/calls/submit_limits.h"
#include "services/scheduler/core/admission_policy.h"
#include "services/scheduler/pipeline/closed_for.h"

namespace baton::scheduler {
namespace {

// Whoever finds too many calls open may try again after so long, and up to as long again.
constexpr absl::Duration kRetryAfter = absl::Seconds(1);
// A deadline beyond it is none.
constexpr absl::Duration kLongestDeadline = absl::Hours(24 * 365);

// The call's deadline on the clock that never jumps.
MonotonicTime DeadlineOf(const grpc::CallbackServerContext& context) {
  const absl::Duration left = absl::FromChrono(context.deadline()) - absl::Now();
  if (left > kLongestDeadline) return MonotonicTime::max();
  return std::chrono::steady_clock::now() + left;
}

// The next message of what waits. What comes with the first token leaves with it, what comes with
// the last stays.
v1::SubmitResponse TakeMessage(v1::SubmitResponse* pending) {
  if (pending->tokens_size() <= kMaxMessageTokens) return std::exchange(*pending, {});
  v1::SubmitResponse message;
  std::vector<v1::GeneratedToken*> tokens(kMaxMessageTokens);
  pending->mutable_tokens()->ExtractSubrange(0, kMaxMessageTokens, tokens.data());
  for (v1::GeneratedToken* token : tokens) message.mutable_tokens()->AddAllocated(token);
  message.mutable_prompt_logprobs()->Swap(pending->mutable_prompt_logprobs());
  message.set_cached_prompt_tokens(pending->cached_prompt_tokens());
  message.set_queue_us(pending->queue_us());
  pending->clear_cached_prompt_tokens();
  pending->clear_queue_us();
  return message;
}

}  // namespace

grpc::ServerWriteReactor<v1::SubmitResponse>* SubmitCall::Start(
    grpc::CallbackServerContext* context, const v1::SubmitRequest& request,
    const SubmitContext& submit) {
  std::shared_ptr<SubmitCall> call(new SubmitCall(context, submit));
  call->self_ = call;
  call->Begin(request);
  return call.get();
}

void SubmitCall::Begin(const v1::SubmitRequest& request) {
  if (absl::Status status = CheckSubmitRequest(request, submit_.vocab_size); !status.ok()) {
    Finish(status, absl::ZeroDuration());
    return;
  }
  fairness_key_ = request.fairness_key();
  entered_ = submit_.live_calls->Enter();
  id_ = submit_.loop->NewSequenceId();
  if (entered_ && submit_.loop->Post(SubmitEvent{id_, request, self_, DeadlineOf(*context_)}))
    return;
  if (submit_.loop->stopped()) {
    return Finish(absl::UnavailableError("the scheduler is shutting down"), absl::ZeroDuration());
  }
  submit_.observer->OnRefused("open_calls");
  Finish(WithClosedFor(absl::ResourceExhaustedError("too many requests are open; try again later"),
                       kRetryAfter),
         kRetryAfter * (1 + Spread(id_)));
}

PushResult SubmitCall::Push(v1::SubmitResponse response) {
  Action action = Action::kNone;
  PushResult result = PushResult::kTaken;
  {
    absl::MutexLock lock(&mutex_);
    if (cancelled_ || finishing_) return PushResult::kGone;
    if (has_pending_) {
      pending_.MergeFrom(response);
    } else {
      pending_ = std::move(response);
      has_pending_ = true;
    }
    // The last message leaves together with the status, which follows at once.
    if (pending_.finish_reason() == v1::FINISH_REASON_UNSPECIFIED) action = NextLocked();
    full_ = full_ || pending_.tokens_size() >= kMaxUnreadTokens;
    if (full_) result = PushResult::kFull;
  }
  Do(action);
  return result;
}

void SubmitCall::Finish(const absl::Status& status, absl::Duration retry_after) {
  Action action = Action::kNone;
  std::shared_ptr<UnreadCall> leaving;
  {
    absl::MutexLock lock(&mutex_);
    if (finishing_) return;
    finishing_ = true;
    final_status_ = status;
    if (retry_after > absl::ZeroDuration()) {
      context_->AddTrailingMetadata("retry-after-ms",
                                    absl::StrCat(absl::ToInt64Milliseconds(retry_after)));
    }
    if (const absl::Duration closed_for = ClosedFor(status); closed_for > absl::ZeroDuration()) {
      context_->AddTrailingMetadata("closed-for-us",
                                    absl::StrCat(absl::ToInt64Microseconds(closed_for)));
    }
    action = NextLocked();
    // What is written may never be read. OnDone, which comes behind it, removes it.
    if (writing_) leaving = submit_.unread_calls->Add(self_);
  }
  if (entered_) submit_.live_calls->Leave();
  Do(action);
  if (leaving != nullptr) leaving->CutOff();
}

void SubmitCall::CutOff() {
  absl::MutexLock lock(&mutex_);
  if (!done_) context_->TryCancel();
}

SubmitCall::Action SubmitCall::NextLocked() {
  if (writing_ || finished_) return Action::kNone;
  if (cancelled_) has_pending_ = false;
  if (!has_pending_ && !finishing_) return Action::kNone;
  if (!has_pending_) {
    finished_ = true;
    return Action::kFinish;
  }
  current_ = TakeMessage(&pending_);
  current_.set_sequence_number(next_number_++);
  has_pending_ = pending_.tokens_size() > 0;
  writing_ = true;
  last_taken_ = std::chrono::steady_clock::now();  // up to here it had nothing left to take
  finished_ = finishing_ && !has_pending_;
  return finished_ ? Action::kWriteAndFinish : Action::kWrite;
}

void SubmitCall::Do(Action action) {
  grpc::Status status;
  if (action == Action::kFinish || action == Action::kWriteAndFinish) {
    absl::MutexLock lock(&mutex_);
    status = ToGrpcStatus(final_status_);
  }
  switch (action) {
    case Action::kNone:
      return;
    case Action::kWrite:
      StartWrite(&current_);
      return;
    case Action::kWriteAndFinish:
      StartWriteAndFinish(&current_, grpc::WriteOptions(), std::move(status));
      return;
    case Action::kFinish:
      Reactor::Finish(std::move(status));
      return;
  }
}

void SubmitCall::OnWriteDone(bool ok) {
  Action action = Action::kNone;
  bool caught_up = false;
  {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    last_taken_ = std::chrono::steady_clock::now();
    if (!ok) cancelled_ = true;  // OnCancel follows
    action = NextLocked();
    caught_up = full_ && !finishing_ && pending_.tokens_size() < kMaxUnreadTokens / 4;
    if (caught_up) full_ = false;
  }
  Do(action);
  // Once at a time: the inbox has room for it.
  if (caught_up) submit_.loop->Post(ReaderCaughtUpEvent{id_});
}

void SubmitCall::OnCancel() {
  {
    absl::MutexLock lock(&mutex_);
    cancelled_ = true;
    if (finishing_) return;
  }
  if (submit_.loop->Post(CancelEvent{id_})) return;  // the loop answers with Finish
  Finish(absl::CancelledError("cancelled by its caller"), absl::ZeroDuration());
}

void SubmitCall::OnDone() {
  {
    absl::MutexLock lock(&mutex_);
    done_ = true;
  }
  submit_.unread_calls->Remove(this);
  self_.reset();
}

}  // namespace baton::scheduler
