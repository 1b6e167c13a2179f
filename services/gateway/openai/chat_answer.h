// Answers of /v1/chat/completions: chat.completion and chat.completion.chunk.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/tokenizer/tokenizer.h"
#include "services/gateway/openai/answer_format.h"
#include "services/gateway/openai/request_fields.h"

namespace baton::gateway {

struct ChatAnswerOptions {
  AnswerHead head;
  size_t num_choices = 1;
  StreamFields stream;
  OutputFields output;
  bool include_reasoning = true;
  bool writes_reasoning = true;  // under these names:
  bool writes_reasoning_content = true;
  bool counts_reasoning = false;  // the model's reasoning is split off
  bool logprobs = false;
  bool prompt_logprobs = false;
  std::vector<uint32_t> prompt_token_ids;  // kept if they are to be returned
  std::string echoed;                      // what every content begins with
  std::optional<std::string> prompt_text;  // if it is to be returned
};

class ChatAnswer final : public AnswerFormat {
 public:
  // `tokenizer` must outlive this.
  ChatAnswer(const Tokenizer& tokenizer, ChatAnswerOptions options);

  void StreamUpdate(size_t choice, const SequenceUpdate& update, const RequestUsage& usage,
                    std::string* events) override;
  void StreamEnd(const RequestUsage& usage, std::string* events) override;
  void Collect(size_t choice, SequenceUpdate& update) override;
  size_t collected_bytes() const override { return collected_bytes_; }
  std::string WholeBody(const RequestUsage& usage) override;

 private:
  struct Choice {
    bool begun = false;
    std::string content;
    std::string reasoning;
    Json tool_calls = Json::array();  // streamed: empty, and
    bool has_tool_calls = false;
    std::string logprobs;  // items of a JSON list
    std::vector<uint32_t> token_ids;
    Json finish_reason;
    Json stop_reason;
  };

  void AppendRoleEvent(size_t choice, const RequestUsage& usage, std::string* events);
  void AppendDeltaEvent(size_t choice, const SequenceUpdate& update, const RequestUsage& usage,
                        std::string* events);
  // What stands after `"choices":[{...}` in an event.
  void AppendEventTail(bool last, const RequestUsage& usage, std::string* json) const;
  // The members of "delta", without braces.
  std::string DeltaMembers(const SequenceUpdate& update) const;
  // How the choice ended: with calls it is neither "stop" nor an answer.
  Json FinishReason(const Choice& choice, v1::FinishReason reason) const;
  // Items of a JSON list, one per token.
  void AppendLogprobs(const SequenceUpdate& update, std::string* items) const;
  std::string ChoiceJson(size_t index) const;

  const Tokenizer& tokenizer_;
  const ChatAnswerOptions options_;
  const std::string prefix_;
  std::vector<Choice> choices_;
  std::string prompt_logprobs_;  // JSON; empty: none
  size_t collected_bytes_ = 0;
};

}  // namespace baton::gateway
