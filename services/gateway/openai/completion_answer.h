// Answers of /v1/completions: text_completion, streamed or whole.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/tokenizer/tokenizer.h"
#include "services/gateway/answers/answer_writer.h"
#include "services/gateway/answers/collected_choice.h"
#include "services/gateway/json/strict_json.h"
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
  bool prompt_logprobs = false;  // under that name; vLLM shows echoed ones there, too
};

class CompletionAnswer final : public AnswerWriter {
 public:
  // `tokenizer` must outlive this.
  CompletionAnswer(const Tokenizer& tokenizer, CompletionAnswerOptions options);

  void Delta(size_t choice, const SequenceUpdate& update, const RequestUsage& usage,
             std::string* events) override;
  void Finish(const RequestUsage& usage, std::string* events) override;
  void Collect(size_t choice, const SequenceUpdate& update) override;
  size_t collected_bytes() const override { return collected_bytes_; }
  std::string Body(const RequestUsage& usage) override;

 private:
  // The legacy log-probability object: four lists of one entry per token. Items of JSON lists.
  struct LogprobLists {
    std::string text_offset;
    std::string token_logprobs;
    std::string tokens;
    std::string top_logprobs;

    size_t num_bytes() const {
      return text_offset.size() + token_logprobs.size() + tokens.size() + top_logprobs.size();
    }
  };
  struct Choice {
    std::string text;
    ChoiceEnd end;
    size_t text_offset = 0;  // in characters, of the next token
    LogprobLists logprobs;
    std::vector<uint32_t> token_ids;
    std::string prompt_logprobs;  // JSON; empty: none
  };

  const EchoedPrompt& PromptOf(size_t choice) const {
    return options_.prompts[choice / options_.choices_per_prompt];
  }
  void AddToken(const v1::PositionLogprobs& logprobs, Choice* choice, LogprobLists* lists) const;
  void AddFirstPromptToken(uint32_t token_id, Choice* choice, LogprobLists* lists) const;
  void AddTokens(size_t index, const SequenceUpdate& update, LogprobLists* lists);
  std::string ToJson(const LogprobLists& lists) const;
  std::string ChoiceJson(size_t index) const;
  // With max_tokens=0 the one token that the scheduler makes all the same is not shown.
  Json ShownFinishReason(const ChoiceEnd& end) const;
  Json ShownStopReason(const ChoiceEnd& end) const;
  std::string ShownUsage(const RequestUsage& usage) const;

  const Tokenizer& tokenizer_;
  const CompletionAnswerOptions options_;
  const std::string prefix_;
  std::vector<Choice> choices_;
  size_t collected_bytes_ = 0;
};

}  // namespace baton::gateway
