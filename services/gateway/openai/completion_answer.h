// Answers of /v1/completions: text_completion, streamed or whole.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/tokenizer/tokenizer.h"
#include "services/gateway/openai/answer_format.h"
#include "services/gateway/openai/request_fields.h"

namespace baton::gateway {

// One prompt of the request.
struct EchoedPrompt {
  std::string text;                 // if it is to be echoed
  std::vector<uint32_t> token_ids;  // if they are to be returned or echoed with log-probabilities
};

struct CompletionAnswerOptions {
  AnswerHead head;
  size_t choices_per_prompt = 1;
  std::vector<EchoedPrompt> prompts;
  StreamFields stream;
  OutputFields output;
  bool echo = false;
  bool echo_only = false;  // generated tokens are not shown
  bool logprobs = false;
  bool prompt_logprobs = false;  // asked for under that name
};

class CompletionAnswer final : public AnswerFormat {
 public:
  // `tokenizer` must outlive this.
  CompletionAnswer(const Tokenizer& tokenizer, CompletionAnswerOptions options);

  void StreamUpdate(size_t choice, const SequenceUpdate& update, const RequestUsage& usage,
                    std::string* events) override;
  void StreamEnd(const RequestUsage& usage, std::string* events) override;
  void Collect(size_t choice, SequenceUpdate& update) override;
  std::string WholeBody(const RequestUsage& usage) override;

 private:
  // The legacy log-probability object: four lists of one entry per token.
  struct LogprobLists {
    Json text_offset = Json::array();
    Json token_logprobs = Json::array();
    Json tokens = Json::array();
    Json top_logprobs = Json::array();
  };
  struct Choice {
    bool begun = false;
    std::string text;
    size_t text_offset = 0;  // in characters, of the next token
    LogprobLists logprobs;
    std::vector<uint32_t> token_ids;
    Json prompt_logprobs;
    Json finish_reason;
    Json stop_reason;
  };

  const EchoedPrompt& PromptOf(size_t choice) const {
    return options_.prompts[choice / options_.choices_per_prompt];
  }
  void AddToken(const v1::PositionLogprobs& logprobs, Choice* choice, LogprobLists* lists) const;
  void AddFirstPromptToken(uint32_t token_id, Choice* choice, LogprobLists* lists) const;
  void AddTokens(size_t index, const SequenceUpdate& update, LogprobLists* lists);
  Json ToJson(LogprobLists&& lists) const;
  Json ChoiceJson(size_t index);

  const Tokenizer& tokenizer_;
  const CompletionAnswerOptions options_;
  const std::string prefix_;
  std::vector<Choice> choices_;
};

}  // namespace baton::gateway
