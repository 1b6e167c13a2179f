// Answers of /v1/messages: a message of blocks, streamed as named events or whole.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "services/gateway/answers/answer_writer.h"
#include "services/gateway/answers/collected_choice.h"
#include "services/gateway/json/strict_json.h"

namespace baton::gateway {

// One choice; not thread-safe.
class MessagesAnswer final : public AnswerWriter {
 public:
  struct Options {
    AnswerHead head;
    bool include_reasoning = true;
  };

  explicit MessagesAnswer(Options options) : options_(std::move(options)) {}

  void Delta(size_t choice, const SequenceUpdate& update, const RequestUsage& usage,
             std::string* events) override;
  void Finish(const RequestUsage& usage, std::string* events) override;
  void Collect(size_t choice, const SequenceUpdate& update) override;
  size_t collected_bytes() const override { return collected_bytes_; }
  std::string Body(const RequestUsage& usage) override;

 private:
  enum class Block { kNone, kThinking, kText, kToolUse };

  // What the message looks like before its first block.
  Json EmptyMessage(const RequestUsage& usage) const;
  // Ends the open block and begins another, unless that is open already.
  void OpenBlock(Block block, Json content, std::string* events);
  void CloseBlock(std::string* events);
  void AppendDelta(Json delta, std::string* events) const;
  void StreamToolCall(const ToolCallPiece& piece, std::string* events);
  Json StopReason() const;
  Json StopSequence() const;

  const Options options_;
  Block open_ = Block::kNone;
  size_t num_blocks_ = 0;      // that began
  CollectedChoice collected_;  // streamed: its end only
  size_t collected_bytes_ = 0;
};

}  // namespace baton::gateway
