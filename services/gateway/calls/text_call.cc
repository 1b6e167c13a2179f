#include "services/gateway/calls/text_call.h"

#include <algorithm>
#include <utility>

#include "common/concurrency/steady_time.h"
#include "services/gateway/admission/request_headers.h"
#include "services/gateway/calls/request_checks.h"

namespace baton::gateway {

struct TextCall::Job {
  HttpRequest request;
  absl::Time deadline;       // of SteadyNow()
  uint64_t id = 0;           // its name in the queue
  TextCall* call = nullptr;  // the loop's; null once nobody waits
};

TextCall::TextCall(const GatewayContext& context, HttpExchange& exchange, Options options)
    : context_(context), exchange_(exchange), options_(std::move(options)) {}

TextCall::~TextCall() { Forget(); }

void TextCall::Start() {
  const HttpRequest& request = exchange_.request();
  // The routes that need a key have checked it.
  absl::StatusOr<ApiCaller> caller = context_.api_keys.Identify(CredentialsOf(request));
  if (caller.ok()) caller_ = *std::move(caller);
  const absl::StatusOr<absl::Duration> timeout =
      ParseRequestTimeout(request.timeout, context_.request_timeout);
  if (!timeout.ok()) return Answer(timeout.status());
  const absl::Time deadline = DeadlineOf(request, *timeout);
  absl::Status taken = context_.rate_limits.TakeTextRequest(caller_, context_.rate_clock());
  if (!taken.ok()) return Answer(std::move(taken));
  counted_ = true;
  if (request.body.size() <= TextQueue::kShortBodyBytes) {
    const absl::Status wanted = CheckEncodeDeadline(deadline);
    return Answer(wanted.ok() ? options_.compute(context_, request) : wanted);
  }
  auto job = std::make_shared<Job>();
  job->deadline = deadline;
  job->request = request;
  job->call = this;
  const auto work = [job, &context = context_, compute = options_.compute] {
    const absl::Status wanted = CheckEncodeDeadline(job->deadline);
    auto body = wanted.ok() ? compute(context, job->request) : absl::StatusOr<std::string>(wanted);
    context.loop.Post([job, body = std::move(body)]() mutable {
      if (job->call != nullptr) job->call->Answer(std::move(body));
    });
  };
  const absl::StatusOr<uint64_t> queued =
      context_.text_queue.Post(caller_.name, job->request.body.size(), work);
  if (!queued.ok()) return Answer(queued.status());
  job->id = *queued;
  job_ = std::move(job);
  WatchDeadline();
}

void TextCall::WatchDeadline() {
  const absl::Duration left = job_->deadline - SteadyNow();
  context_.loop.PostAfter(std::clamp(left, absl::ZeroDuration(), TextQueue::kDeadlineWatch),
                          [watched = std::weak_ptr<Job>(job_)] {
                            const std::shared_ptr<Job> job = watched.lock();
                            if (job == nullptr || job->call == nullptr) return;
                            const absl::Status in_time = CheckEncodeDeadline(job->deadline);
                            if (!in_time.ok()) return job->call->Answer(in_time);
                            job->call->WatchDeadline();
                          });
}

void TextCall::Abort(const absl::Status& reason) {
  if (!answered_) Answer(reason);
}

void TextCall::Answer(absl::StatusOr<std::string> body) {
  answered_ = true;
  Forget();
  HttpResponse response;
  if (body.ok()) {
    response.body = std::move(*body);
  } else {
    if (counted_)
      context_.rate_limits.GiveBackTextRequest(caller_, body.status(), context_.rate_clock());
    response = options_.errors.response(body.status());
  }
  HttpHeaders limits =
      context_.rate_limits.Headers(caller_, context_.rate_clock(), RateLimits::RequestKind::kText);
  response.headers.insert(response.headers.end(), limits.begin(), limits.end());
  context_.metrics.CountHttpAnswer(options_.route, "POST", response.status);
  exchange_.Send(std::move(response));
}

void TextCall::Forget() {
  if (job_ == nullptr) return;
  job_->call = nullptr;
  context_.text_queue.Remove(job_->id);
  job_.reset();
}

}  // namespace baton::gateway
