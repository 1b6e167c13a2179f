// Which tokens a row may draw, as far as its settings and the tokens of its answer say; what
// structured output adds is DrawConstraints'. Nothing is kept from draw to draw, so that a sequence
// that comes back goes on as it would have.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "services/stage_worker/kv_cache/step_batch.h"

namespace baton::stage {

// For SamplingRow: an empty list says nothing.
struct DrawTokens {
  std::vector<uint32_t> allowed;
  std::vector<uint32_t> masked;
};

// Where the reasoning has used up its budget: its end, and whatever else the settings say, nothing
// but that may be drawn.
std::optional<uint32_t> ForcedToken(const DrawRow& draw);

// What banned sequences keep from being drawn. Ascending, each once.
std::vector<uint32_t> BannedTokens(const DrawRow& draw);

// The settings' allowed and masked tokens with the banned ones, which give way if they would leave
// none of `vocab_size` tokens.
DrawTokens TokensWithoutBanned(const DrawRow& draw, size_t vocab_size);

}  // namespace baton::stage
