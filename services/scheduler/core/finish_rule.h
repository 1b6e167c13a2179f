// Whether the newest token ends its sequence.
#pragma once

#include <optional>
#include <vector>

#include "services/scheduler/core/sequence.h"

namespace baton::scheduler {

// Judges the newest generated token of `sequence`; nullopt: it goes on. A stop token counts before
// a length. `max_len`: tokens of prompt and answer together that it may have.
std::optional<Ending> EndingOf(const Sequence& sequence, const std::vector<TokenId>& eos_token_ids,
                               uint32_t max_len);

// Whether `sequence` may have a token behind the one that is sampled next: if not, that one is the
// last whatever it is.
bool MayOutlastNextToken(const Sequence& sequence, uint32_t max_len);

}  // namespace baton::scheduler
