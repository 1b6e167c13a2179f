// Sequences for the tests of the core.
#pragma once

#include <vector>

#include "services/scheduler/core/core_time.h"
#include "services/scheduler/core/sequence.h"

namespace baton::scheduler {

constexpr TokenId kEos = 1;
constexpr TimeUs kSecond = 1'000'000;
constexpr uint32_t kManyBlocks = 100;

inline SequenceRequest MakeRequest(SequenceId id, uint32_t prompt_tokens,
                                   uint32_t max_tokens = 16) {
  SequenceRequest request;
  request.id = id;
  for (uint32_t i = 0; i < prompt_tokens; ++i) {
    request.prompt.push_back(static_cast<TokenId>((id * 31 + i * 7) % 1000 + 2));
  }
  request.stop.max_tokens = max_tokens;
  return request;
}

}  // namespace baton::scheduler
