#include "services/stage_worker/model/draw_rules.h"

#include <algorithm>
#include <cstddef>
#include <iterator>

#include "absl/container/flat_hash_set.h"

namespace baton::stage {

std::optional<uint32_t> ForcedToken(const DrawRow& draw) {
  const std::optional<ReasoningBudget>& budget = draw.sampling->reasoning_budget;
  if (!budget.has_value()) return std::nullopt;
  const std::vector<uint32_t>& answer = draw.answer_tokens;
  auto begin = answer.begin();
  if (budget->begin_after_token_id.has_value()) {
    begin = std::find(begin, answer.end(), *budget->begin_after_token_id);
    if (begin == answer.end()) return std::nullopt;
    ++begin;
  }
  if (answer.end() - begin < std::ptrdiff_t{budget->num_tokens}) return std::nullopt;
  const bool ended = std::find(begin, answer.end(), budget->end_token_id) != answer.end();
  return ended ? std::nullopt : std::optional(budget->end_token_id);
}

std::vector<uint32_t> BannedTokens(const DrawRow& draw) {
  const std::vector<uint32_t>& answer = draw.answer_tokens;
  std::vector<uint32_t> banned;
  for (const std::vector<uint32_t>& sequence : draw.sampling->banned_sequences) {
    const size_t num_before = sequence.size() - 1;
    if (num_before > answer.size()) continue;
    if (std::equal(sequence.begin(), std::prev(sequence.end()), answer.end() - num_before)) {
      banned.push_back(sequence.back());
    }
  }
  std::sort(banned.begin(), banned.end());
  banned.erase(std::unique(banned.begin(), banned.end()), banned.end());
  return banned;
}

DrawTokens TokensWithoutBanned(const DrawRow& draw, size_t vocab_size) {
  DrawTokens tokens{draw.sampling->allowed_token_ids, {}};
  if (draw.masked) tokens.masked = draw.sampling->masked_token_ids;
  const std::vector<uint32_t> banned = BannedTokens(draw);
  if (banned.empty()) return tokens;
  absl::flat_hash_set<uint32_t> out(tokens.masked.begin(), tokens.masked.end());
  out.insert(banned.begin(), banned.end());
  const bool leaves_a_token =
      tokens.allowed.empty() ? out.size() < vocab_size
                             : std::any_of(tokens.allowed.begin(), tokens.allowed.end(),
                                           [&out](uint32_t token) { return !out.contains(token); });
  if (!leaves_a_token) return tokens;
  tokens.masked.insert(tokens.masked.end(), banned.begin(), banned.end());
  return tokens;
}

}  // namespace baton::stage
