// Whether a newcomer may wait, and what it is told if not.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

#include "services/scheduler/core/core_time.h"
#include "services/scheduler/core/request_queue.h"
#include "services/scheduler/core/sequence.h"
#include "services/scheduler/core/service_rate.h"

namespace baton::scheduler {

enum class RefusalReason {
  kQueueRequests,  // as many wait as may
  kQueueTokens,    // those that wait hold as many tokens as they may
  kQueueWait,      // it would wait for too long
  kDeadline,       // it would wait past its deadline
  kDisplaced,      // it waited, and made room for another key, of which less waits
};
// "queue_requests", "queue_tokens", "queue_wait", "deadline", "displaced".
absl::string_view RefusalName(RefusalReason reason);

struct Refusal {
  RefusalReason reason = RefusalReason::kQueueRequests;
  std::string message;
  TimeUs retry_after = 0;
  // For so long even the smallest newcomer of the same key, of no better priority, is expected to
  // be refused; 0: it might be taken.
  TimeUs closed_for = 0;
};

struct Verdict {
  std::optional<Refusal> refusal;
  std::vector<Sequence*> leaving;  // without a refusal: those that wait no longer, to make room
  TimeUs wait = 0;                 // predicted
};

// Judges a newcomer that may generate `expected_answer` tokens. A request with tokens already
// generated ran before and is always taken.
Verdict JudgeNewcomer(const SequenceRequest& request, uint32_t expected_answer,
                      const RequestQueue& queue, const ServiceRate& rate, TimeUs max_wait,
                      TimeUs now);

// A number in [0, 1) that looks drawn at random; of one id always the same.
double Spread(SequenceId id);

// When a refused caller may try again: when what waits is done, more or less a quarter by `id` so
// that those that are refused together do not come back together; 1 to 60 seconds.
TimeUs RetryAfter(const RequestQueue& queue, const ServiceRate& rate, SequenceId id);

}  // namespace baton::scheduler
