#include "services/scheduler/pipeline/stop_mask.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"

namespace baton::scheduler {

absl::Status FillStopMask(const v1::StopParams& stop, const std::vector<uint32_t>& eos_token_ids,
                          uint32_t vocab_size, v1::SamplingParams* sampling) {
  sampling->clear_min_tokens();
  sampling->clear_masked_token_ids();
  if (stop.min_tokens() == 0) return absl::OkStatus();
  std::set<uint32_t> masked(eos_token_ids.begin(), eos_token_ids.end());
  masked.insert(stop.stop_token_ids().begin(), stop.stop_token_ids().end());
  masked.erase(masked.lower_bound(vocab_size), masked.end());
  const auto& allowed = sampling->allowed_token_ids();
  const bool leaves_a_token =
      allowed.empty() ? masked.size() < vocab_size
                      : std::any_of(allowed.begin(), allowed.end(),
                                    [&masked](uint32_t token) { return !masked.contains(token); });
  if (!leaves_a_token) {
    return absl::InvalidArgumentError(
        absl::StrCat("min_tokens is ", stop.min_tokens(), ", but every token that may be drawn is ",
                     "an end-of-sequence or stop token, which cannot be drawn before that"));
  }
  sampling->set_min_tokens(stop.min_tokens());
  sampling->mutable_masked_token_ids()->Add(masked.begin(), masked.end());
  return absl::OkStatus();
}

}  // namespace baton::scheduler
