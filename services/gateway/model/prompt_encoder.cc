#include "services/gateway/model/prompt_encoder.h"

#include <utility>

#include "absl/random/random.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "services/gateway/admission/refusal.h"

namespace baton::gateway {
namespace {

// A conversation whose contents stand aside: content i is replaced by "<prefix>i;".
struct MarkedChat {
  ChatInput input;
  std::string prefix;  // random, so that no content can hold it on purpose
  std::vector<std::string> contents;
};

// Marks every content that holds a control token, but for the assistant's own turns, which
// templates take apart.
MarkedChat MarkContents(const ServedModel& model, const ChatInput& input) {
  absl::BitGen random;
  MarkedChat marked{input, "", {}};
  marked.prefix = absl::StrCat("m", absl::Hex(absl::Uniform<uint64_t>(random), absl::kZeroPad16),
                               absl::Hex(absl::Uniform<uint64_t>(random), absl::kZeroPad16), "i");
  for (Json& message : marked.input.messages) {
    if (!message.is_object() || !message.contains("content")) continue;
    Json& content = message["content"];
    if (!content.is_string() || message.value("role", "") == "assistant") continue;
    std::string text = content.get<std::string>();
    if (!model.text.tokenizer->ContainsAddedToken(text)) continue;
    content = absl::StrCat(marked.prefix, marked.contents.size(), ";");
    marked.contents.push_back(std::move(text));
  }
  return marked;
}

// Puts the contents back in place of their marks and notes where they stand.
std::string RestoreContents(absl::string_view rendered, const MarkedChat& marked,
                            std::vector<ByteRange>* ranges) {
  std::string text;
  for (size_t at = rendered.find(marked.prefix); at != absl::string_view::npos;
       at = rendered.find(marked.prefix)) {
    absl::StrAppend(&text, rendered.substr(0, at));
    rendered.remove_prefix(at + marked.prefix.size());
    const size_t end = rendered.find(';');
    size_t index = 0;
    if (end == absl::string_view::npos || !absl::SimpleAtoi(rendered.substr(0, end), &index) ||
        index >= marked.contents.size()) {
      continue;  // the template cut the mark: the comparison with the real text will fail
    }
    rendered.remove_prefix(end + 1);
    ranges->push_back({text.size(), text.size() + marked.contents[index].size()});
    text.append(marked.contents[index]);
  }
  absl::StrAppend(&text, rendered);
  return text;
}

}  // namespace

absl::StatusOr<std::string> RenderChat(const ServedModel& model, const ChatInput& input) {
  if (model.chat_template == nullptr) {
    return InvalidField("messages", "cannot be used: the model has no chat template");
  }
  Json context = input.template_arguments;
  context["messages"] = input.messages;
  context["add_generation_prompt"] = input.add_generation_prompt;
  context["bos_token"] = model.text.config.bos_token;
  context["eos_token"] = model.text.config.eos_token;
  auto rendered = model.chat_template->Render(context);
  if (!rendered.ok()) {
    return WithRefusedField(Annotate(rendered.status(), "the chat template refuses the messages"),
                            "messages");
  }
  return rendered;
}

absl::StatusOr<EncodedPrompt> EncodeChat(const ServedModel& model, const ChatInput& input) {
  ASSIGN_OR_RETURN(const std::string rendered, RenderChat(model, input));
  EncodedPrompt prompt;
  prompt.opens_reasoning = PromptOpensReasoning(rendered);
  std::vector<ByteRange> plain_ranges;
  const MarkedChat marked = MarkContents(model, input);
  if (!marked.contents.empty()) {
    ASSIGN_OR_RETURN(const std::string with_marks, RenderChat(model, marked.input));
    // A template that looks into a content (it may cut an answer's reasoning off, for example)
    // gives another text; then its own reading of that content stands.
    if (RestoreContents(with_marks, marked, &plain_ranges) != rendered) {
      plain_ranges.clear();
    }
  }
  prompt.token_ids = model.text.tokenizer->Encode(rendered, {.plain_ranges = plain_ranges});
  return prompt;
}

std::vector<uint32_t> EncodeText(const ServedModel& model, absl::string_view text,
                                 bool add_special_tokens) {
  return model.text.tokenizer->Encode(text, {.add_special_tokens = add_special_tokens});
}

}  // namespace baton::gateway
