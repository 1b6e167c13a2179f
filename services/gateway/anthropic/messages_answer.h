// Answers of /v1/messages: a message of blocks, streamed as named events or whole.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "services/gateway/json/strict_json.h"
#include "services/gateway/openai/answer_format.h"

namespace baton::gateway {

// One choice; not thread-safe.
class MessagesAnswer final : public AnswerFormat {
 public:
  struct Options {
    AnswerHead head;
    bool include_reasoning = true;
  };

  explicit MessagesAnswer(Options options) : options_(std::move(options)) {}

  void StreamUpdate(size_t choice, const SequenceUpdate& update, const RequestUsage& usage,
                    std::string* events) override;
  void StreamEnd(const RequestUsage& usage, std::string* events) override;
  void Collect(size_t choice, SequenceUpdate& update) override;
  size_t collected_bytes() const override { return collected_bytes_; }
  std::string WholeBody(const RequestUsage& usage) override;

 private:
  enum class Block { kNone, kThinking, kText, kToolUse };

  // What the message looks like before its first block.
  Json EmptyMessage(const RequestUsage& usage) const;
  // Ends the open block and begins another, unless that is open already.
  void OpenBlock(Block block, Json content, std::string* events);
  void CloseBlock(std::string* events);
  void AppendDelta(Json delta, std::string* events) const;
  void StreamToolCall(const ToolCallPiece& piece, std::string* events);
  void NoteEnd(const SequenceUpdate& update);

  const Options options_;
  bool begun_ = false;
  Block open_ = Block::kNone;
  size_t num_blocks_ = 0;  // that began
  bool has_calls_ = false;
  Json stop_reason_;
  Json stop_sequence_;
  // Whole answers only.
  std::string thinking_;
  std::string text_;
  struct Call {
    std::string name;
    std::string arguments;
  };
  std::vector<Call> calls_;
  size_t collected_bytes_ = 0;
};

}  // namespace baton::gateway
