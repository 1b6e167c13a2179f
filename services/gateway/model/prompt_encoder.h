// Prompts as clients give them to token ids.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "services/gateway/json/strict_json.h"
#include "services/gateway/model/served_model.h"

namespace baton::gateway {

// A conversation for the chat template.
struct ChatInput {
  Json messages;   // list of objects with "role" and "content" (string or null)
  Json tools;      // list of what the model may call; null: none
  Json documents;  // list of objects, for the template; null: none
  bool add_generation_prompt = true;
  bool continue_final_message = false;       // the answer goes on with the last message's content
  bool add_special_tokens = false;           // in addition to those that the template writes
  Json template_arguments = Json::object();  // further variables of the template
};

// Where a prompt leaves the model's reasoning.
enum class PromptReasoning {
  kNone,         // over, or there is none
  kOpen,         // the answer begins inside it
  kLeftToModel,  // the prompt says nothing: the model writes the opening tag itself
};

struct EncodedPrompt {
  std::vector<uint32_t> token_ids;
  std::string text;                                    // of a conversation
  PromptReasoning reasoning = PromptReasoning::kNone;  // of a conversation
};

// The text of a conversation. Errors: InvalidArgument (no template, or what the template refuses,
// tools or documents that it would not show, a last message that it would not show as it is and
// that is to be continued).
absl::StatusOr<std::string> RenderChat(const ServedModel& model, const ChatInput& input);

// Token ids of a conversation. Text of control tokens inside a message's content is encoded as
// plain text, but for the assistant's turns, and so is that in tools and documents: neither can
// speak for the template. `max_tokens`: as in EncodeOptions. Errors: as RenderChat, and
// InvalidArgument when the template changes such a content other than by trimming white space. Tags
// decide about the reasoning where they are tokens of the prompt: in a content that is no
// assistant's they are plain text.
absl::StatusOr<EncodedPrompt> EncodeChat(const ServedModel& model, const ChatInput& input,
                                         size_t max_tokens);

// Token ids of a text; control tokens in it count, since the client writes the whole prompt.
// `max_tokens`: as in EncodeOptions. Errors: as Tokenizer::Encode.
absl::StatusOr<std::vector<uint32_t>> EncodeText(const ServedModel& model, absl::string_view text,
                                                 bool add_special_tokens, size_t max_tokens);

}  // namespace baton::gateway
