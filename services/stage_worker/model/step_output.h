// What the last stage draws from a step.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/api/sampling.h"

namespace baton::stage {

struct PositionScores {
  kernels::TokenScore token;
  std::vector<kernels::TokenScore> top;  // best first
};

struct DrawnToken {
  uint64_t sequence_id = 0;
  uint32_t position = 0;
  uint32_t token_id = 0;
  std::optional<PositionScores> logprobs;  // when asked for
};

// Scores of the prompt tokens at begin, begin + 1, ...
struct PromptScores {
  uint64_t sequence_id = 0;
  uint32_t begin = 0;
  std::vector<PositionScores> positions;
};

struct SequenceFailure {
  uint64_t sequence_id = 0;
  std::string message;
  bool caused_by_request = false;  // it asks for what cannot be had
  bool overloaded = false;         // others leave it no room; with neither, the stage failed
};

// Guesses of the tokens behind the last one drawn.
struct DraftedTokens {
  uint64_t sequence_id = 0;
  std::vector<uint32_t> token_ids;  // at least one
};

// Tokens and scores in the order of the command; a sequence with a failure has no token. One whose
// drafts were right has a token for each of them and one more, by position.
struct StepOutput {
  std::vector<DrawnToken> tokens;
  std::vector<DraftedTokens> drafts;  // where the stage drafts
  std::vector<PromptScores> prompt_scores;
  std::vector<SequenceFailure> failures;
};

}  // namespace baton::stage
