// Answers of /v1/chat/completions: chat.completion and chat.completion.chunk.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/tokenizer/tokenizer.h"
#include "services/gateway/answers/answer_writer.h"
#include "services/gateway/answers/collected_choice.h"
#include "services/gateway/json/strict_json.h"
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
  bool names_calls = true;        // of a choice that ends with calls: else it ends with "stop"
  bool logprobs = false;
  bool prompt_logprobs = false;
  std::vector<uint32_t> prompt_token_ids;  // kept if they are to be returned; none: of a batch
  std::string echoed;                      // what every content begins with
  std::optional<std::string> prompt_text;  // if it is to be returned
};

class ChatAnswer final : public AnswerWriter {
 public:
  // `tokenizer` must outlive this.
  ChatAnswer(const Tokenizer& tokenizer, ChatAnswerOptions options);

  void Delta(size_t choice, const SequenceUpdate& update, const RequestUsage& usage,
             std::string* events) override;
  void Finish(const RequestUsage& usage, std::string* events) override;
  void Collect(size_t choice, const SequenceUpdate& update) override;
  size_t collected_bytes() const override { return collected_bytes_; }
  std::string Body(const RequestUsage& usage) override;

 private:
  struct Choice {
    CollectedChoice texts;  // streamed: its end only
    std::string logprobs;   // items of a JSON list
    std::vector<uint32_t> token_ids;
  };

  void AppendRoleEvent(size_t choice, const RequestUsage& usage, std::string* events);
  void AppendDeltaEvent(size_t choice, const SequenceUpdate& update, const RequestUsage& usage,
                        std::string* events);
  // What stands after `"choices":[{...}` in an event.
  void AppendEventTail(bool last, const RequestUsage& usage, std::string* json) const;
  // The members of "delta", without braces.
  std::string DeltaMembers(const SequenceUpdate& update) const;
  Json FinishReason(const ChoiceEnd& end) const;
  // The answer of a choice, a JSON string; null if it has none.
  std::string ContentJson(const CollectedChoice& texts) const;
  std::string MessageJson(const CollectedChoice& texts) const;
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
