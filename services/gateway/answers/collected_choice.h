// What the updates of one choice add up to: texts, calls, how it ended.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "services/gateway/generation/generate_call.h"

namespace baton::gateway {

// How a choice ended, whatever an API calls that.
enum class AnswerEnd {
  kNone,       // it goes on
  kStop,       // by itself or at a stop, without a call
  kToolCalls,  // the same, and it calls functions
  kLength,     // at the most tokens
};

// Follows a choice: whether it calls functions, and its end.
class ChoiceEnd final {
 public:
  void Add(const SequenceUpdate& update);

  bool has_calls() const { return has_calls_; }
  AnswerEnd end() const { return end_; }
  // The stop string or stop token that ended the choice, if one did.
  const std::string& stop_string() const { return stop_string_; }
  std::optional<uint32_t> stop_token_id() const { return stop_token_id_; }

 private:
  bool has_calls_ = false;
  AnswerEnd end_ = AnswerEnd::kNone;
  std::string stop_string_;
  std::optional<uint32_t> stop_token_id_;
};

// A choice of a whole answer.
struct CollectedChoice {
  std::string reasoning;
  std::string content;
  std::vector<ToolCallPiece> calls;  // each of them whole, at its place in `content`
  ChoiceEnd end;

  // Returns about how many bytes it takes more than before.
  size_t Add(const SequenceUpdate& update);
};

}  // namespace baton::gateway
