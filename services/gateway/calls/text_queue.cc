#include "services/gateway/calls/text_queue.h"

#include <utility>

#include "absl/strings/str_cat.h"

#include "common/concurrency/steady_time.h"
#include "services/gateway/admission/refusal.h"

namespace baton::gateway {
namespace {

constexpr absl::Duration kOverloadRetry = absl::Seconds(1);

}  // namespace

absl::Status TextJob::CheckWanted() const {
  if (cancelled.load()) return absl::CancelledError("the client is gone");
  if (SteadyNow() < deadline) return absl::OkStatus();
  return absl::DeadlineExceededError("the deadline passed before the prompt was encoded");
}

absl::Status TextQueue::Post(size_t num_bytes, std::function<void()> work) {
  if (num_bytes_.fetch_add(num_bytes) + num_bytes > capacity_bytes_) {
    num_bytes_.fetch_sub(num_bytes);
    return WithRetryAfter(
        WithReason(absl::UnavailableError(absl::StrCat("long requests of more than ",
                                                       capacity_bytes_, " bytes wait already")),
                   "server_is_overloaded"),
        kOverloadRetry);
  }
  worker_.Post([this, num_bytes, work = std::move(work)] {
    work();
    num_bytes_.fetch_sub(num_bytes);
  });
  return absl::OkStatus();
}

}  // namespace baton::gateway
