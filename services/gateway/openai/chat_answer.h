// Answers of /v1/chat/completions: chat.completion and chat.completion.chunk.
#pragma once

#include <cstdint>
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
  bool counts_reasoning = false;  // the model's reasoning is split off
  bool logprobs = false;
  bool prompt_logprobs = false;
  std::vector<uint32_t> prompt_token_ids;  // kept if they are to be returned
};

class ChatAnswer final : public AnswerFormat {
 public:
  // `tokenizer` must outlive this.
  ChatAnswer(const Tokenizer& tokenizer, ChatAnswerOptions options);

  void StreamUpdate(size_t choice, const SequenceUpdate& update, const RequestUsage& usage,
                    std::string* events) override;
  void StreamEnd(const RequestUsage& usage, std::string* events) override;
  void Collect(size_t choice, SequenceUpdate& update) override;
  std::string WholeBody(const RequestUsage& usage) override;

 private:
  struct Choice {
    bool begun = false;
    std::string content;
    std::string reasoning;
    Json logprobs = Json::array();
    std::vector<uint32_t> token_ids;
    Json finish_reason;
    Json stop_reason;
  };

  void AppendRoleEvent(size_t choice, const RequestUsage& usage, std::string* events);
  void AppendDeltaEvent(size_t choice, const SequenceUpdate& update, const RequestUsage& usage,
                        std::string* events);
  // What stands after `"choices":[{...}` in an event.
  void AppendEventTail(bool last, const RequestUsage& usage, std::string* json) const;
  Json LogprobsJson(const SequenceUpdate& update) const;
  Json ChoiceJson(size_t index);

  const Tokenizer& tokenizer_;
  const ChatAnswerOptions options_;
  const std::string prefix_;
  std::vector<Choice> choices_;
  Json prompt_logprobs_;
};

}  // namespace baton::gateway
