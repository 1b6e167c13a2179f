#include "services/scheduler/core/admission_policy.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace baton::scheduler {
namespace {

constexpr TimeUs kSecond = 1'000'000;
// Official clients of the HTTP API give up, or do as they like, when told of more.
constexpr TimeUs kMostRetry = 60 * kSecond;

std::string Seconds(TimeUs time) { return absl::StrCat((time + kSecond / 2) / kSecond, " s"); }

// When room for the smallest newcomer of the key of `request`, which would wait for `wait`, is
// expected; 0: there is some.
TimeUs TimeToRoom(const SequenceRequest& request, const RequestQueue& queue,
                  const ServiceRate& rate, TimeUs wait, TimeUs max_wait) {
  if (wait > max_wait) return wait - max_wait;
  if (queue.HasRoomFor(1)) return 0;
  const Work smallest{.prompt_tokens = 1, .answer_tokens = 1};
  const bool makes_room =
      !queue.WhoMakesRoom(request.fairness_key, request.fairness_weight, request.priority, smallest)
           .empty();
  // One of those that wait begins.
  return makes_room ? 0 : rate.TimeFor(queue.work()) / static_cast<TimeUs>(queue.size());
}

}  // namespace

absl::string_view RefusalName(RefusalReason reason) {
  switch (reason) {
    case RefusalReason::kQueueRequests:
      return "queue_requests";
    case RefusalReason::kQueueTokens:
      return "queue_tokens";
    case RefusalReason::kQueueWait:
      return "queue_wait";
    case RefusalReason::kDeadline:
      return "deadline";
    case RefusalReason::kDisplaced:
      return "displaced";
  }
  return "unknown";
}

double Spread(SequenceId id) {
  // The finalizer of SplitMix64.
  uint64_t bits = id + 0x9e3779b97f4a7c15;
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111eb;
  bits = bits ^ (bits >> 31);
  return static_cast<double>(bits % 1024) / 1024;
}

TimeUs RetryAfter(const RequestQueue& queue, const ServiceRate& rate, SequenceId id) {
  const auto drain = static_cast<double>(rate.TimeFor(queue.work()));
  return std::clamp(static_cast<TimeUs>(std::max(drain, 1.0 * kSecond) * (0.75 + 0.5 * Spread(id))),
                    kSecond, kMostRetry);
}

Verdict JudgeNewcomer(const SequenceRequest& request, uint32_t expected_answer,
                      const RequestQueue& queue, const ServiceRate& rate, TimeUs max_wait,
                      TimeUs now) {
  Verdict verdict;
  if (!request.resumed.empty()) return verdict;
  const auto refuse = [&](RefusalReason reason, std::string message) {
    verdict.refusal = Refusal{reason, std::move(message), RetryAfter(queue, rate, request.id),
                              TimeToRoom(request, queue, rate, verdict.wait, max_wait)};
    return verdict;
  };
  verdict.wait = rate.TimeFor(
      queue.WorkAhead(request.fairness_key, request.fairness_weight, request.priority));
  if (request.deadline != kNever && verdict.wait >= request.deadline - now) {
    return refuse(RefusalReason::kDeadline,
                  absl::StrCat("the request would wait for ", Seconds(verdict.wait),
                               ", longer than its deadline allows; try again later"));
  }
  if (verdict.wait > max_wait) {
    return refuse(RefusalReason::kQueueWait,
                  absl::StrCat("the request would wait for ", Seconds(verdict.wait), ", at most ",
                               Seconds(max_wait), " are allowed; try again later"));
  }
  const size_t num_tokens = request.prompt.size();
  if (queue.HasRoomFor(num_tokens)) return verdict;
  verdict.leaving =
      queue.WhoMakesRoom(request.fairness_key, request.fairness_weight, request.priority,
                         {static_cast<double>(num_tokens), static_cast<double>(expected_answer)});
  if (!verdict.leaving.empty()) return verdict;
  if (queue.size() >= queue.limits().max_sequences) {
    return refuse(RefusalReason::kQueueRequests,
                  absl::StrCat(queue.size(), " requests wait already; try again later"));
  }
  return refuse(RefusalReason::kQueueTokens,
                absl::StrCat("requests of ", queue.num_tokens(), " tokens wait already, ",
                             num_tokens, " more are too many; try again later"));
}

}  // namespace baton::scheduler
