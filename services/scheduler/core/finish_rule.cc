#include "services/scheduler/core/finish_rule.h"

#include <algorithm>

namespace baton::scheduler {
namespace {

bool Contains(const std::vector<TokenId>& tokens, TokenId token) {
  return std::find(tokens.begin(), tokens.end(), token) != tokens.end();
}

}  // namespace

std::optional<Ending> EndingOf(const Sequence& sequence, const std::vector<TokenId>& eos_token_ids,
                               uint32_t max_len) {
  if (sequence.num_generated() == 0) return std::nullopt;
  const StopRule& stop = sequence.stop();
  const TokenId token = sequence.tokens().back();
  if (sequence.num_generated() >= stop.min_tokens) {
    if (!stop.ignore_eos && Contains(eos_token_ids, token)) return Ending{FinishCause::kStop};
    if (Contains(stop.stop_token_ids, token)) return Ending{FinishCause::kStop, token};
  }
  if (sequence.num_generated() >= stop.max_tokens || sequence.num_tokens() >= max_len) {
    return Ending{FinishCause::kLength};
  }
  return std::nullopt;
}

bool MayOutlastNextToken(const Sequence& sequence, uint32_t max_len) {
  return sequence.num_generated() + 1 < sequence.stop().max_tokens &&
         sequence.num_tokens() + 1 < max_len;
}

}  // namespace baton::scheduler
