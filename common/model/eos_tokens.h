// The tokens that end a sequence.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "common/model/model_config.h"

namespace baton {

// End-of-sequence tokens of config.json (`config`) and of `directory`/generation_config.json, which
// may be absent; ascending, each once. InvalidArgument naming the file if it is not as published.
absl::StatusOr<std::vector<uint32_t>> ReadEosTokenIds(const ModelConfig& config,
                                                      const std::string& directory);

}  // namespace baton
