#include "services/gateway/model/prompt_encoder.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"

#include "common/status/status_macros.h"
#include "services/gateway/admission/refusal.h"

namespace baton::gateway {
namespace {

constexpr char kWhiteSpace[] = " \t\r\n\v\f";

// A conversation whose contents stand aside: content i is replaced by "<prefix>i;".
struct MarkedChat {
  ChatInput input;
  const char* field;   // what holds control tokens
  std::string prefix;  // random, so that no content can hold it on purpose
  std::vector<std::string> contents;
};

// The content of a message that has to be marked; null: none. The assistant's own turns need not
// be: templates take them apart.
const std::string* ContentToMark(const ServedModel& model, const Json& message) {
  if (!message.is_object()) return nullptr;
  const auto content = message.find("content");
  if (content == message.end() || !content->is_string()) return nullptr;
  const auto& text = content->get_ref<const std::string&>();
  if (!model.text.tokenizer->ContainsAddedToken(text)) return nullptr;
  return message.value("role", "") == "assistant" ? nullptr : &text;
}

// Whether a text in it, or a name, holds a control token.
bool HoldsControlToken(const Tokenizer& tokenizer, const Json& value) {
  if (value.is_string()) {
    return tokenizer.ContainsAddedToken(value.get_ref<const std::string&>());
  }
  for (const auto& item : value.items()) {
    if (value.is_object() && tokenizer.ContainsAddedToken(item.key())) return true;
    if (value.is_structured() && HoldsControlToken(tokenizer, item.value())) return true;
  }
  return false;
}

std::string MarkOf(std::string content, MarkedChat* marked) {
  marked->contents.push_back(std::move(content));
  return absl::StrCat(marked->prefix, marked->contents.size() - 1, ";");
}

// The control tokens alone: templates write the rest in ways of their own, as JSON mostly.
std::string MarkControlTokens(const Tokenizer& tokenizer, const std::string& text,
                              MarkedChat* marked) {
  std::string out;
  size_t done = 0;
  for (const ByteRange& range : tokenizer.AddedTokenRanges(text)) {
    absl::StrAppend(&out, text.substr(done, range.begin - done),
                    MarkOf(text.substr(range.begin, range.end - range.begin), marked));
    done = range.end;
  }
  return out + text.substr(done);
}

void MarkValue(const Tokenizer& tokenizer, Json* value, MarkedChat* marked) {
  if (value->is_string()) {
    *value = MarkControlTokens(tokenizer, value->get_ref<const std::string&>(), marked);
  } else if (value->is_array()) {
    for (Json& item : *value) MarkValue(tokenizer, &item, marked);
  } else if (value->is_object()) {
    Json object = Json::object();  // in the same order
    for (const auto& item : value->items()) {
      Json& member = object[MarkControlTokens(tokenizer, item.key(), marked)];
      member = std::move(item.value());
      MarkValue(tokenizer, &member, marked);
    }
    *value = std::move(object);
  }
}

void MarkMessages(const ServedModel& model, MarkedChat* marked) {
  for (Json& message : marked->input.messages) {
    const std::string* const found = ContentToMark(model, message);
    if (found == nullptr) continue;
    const std::string text = *found;
    // White space around it stays in its place: templates like to trim.
    const size_t begin = text.find_first_not_of(kWhiteSpace);
    const size_t end = text.find_last_not_of(kWhiteSpace) + 1;
    if (begin == std::string::npos) continue;
    message["content"] = absl::StrCat(
        text.substr(0, begin), MarkOf(text.substr(begin, end - begin), marked), text.substr(end));
  }
}

// Marks every content that holds a control token, and the control tokens in tools and documents.
// Null: there are none.
std::optional<MarkedChat> MarkContents(const ServedModel& model, const ChatInput& input) {
  const Tokenizer& tokenizer = *model.text.tokenizer;
  const bool in_messages =
      std::any_of(input.messages.begin(), input.messages.end(),
                  [&](const Json& message) { return ContentToMark(model, message) != nullptr; });
  const bool in_tools = HoldsControlToken(tokenizer, input.tools);
  const bool in_documents = HoldsControlToken(tokenizer, input.documents);
  if (!in_messages && !in_tools && !in_documents) return std::nullopt;
  absl::BitGen random;
  MarkedChat marked{.input = input,
                    .field = in_messages ? "messages"
                             : in_tools  ? "tools"
                                         : "documents"};
  marked.prefix = absl::StrCat("m", absl::Hex(absl::Uniform<uint64_t>(random), absl::kZeroPad16),
                               absl::Hex(absl::Uniform<uint64_t>(random), absl::kZeroPad16), "i");
  if (in_messages) MarkMessages(model, &marked);
  if (in_tools) MarkValue(tokenizer, &marked.input.tools, &marked);
  if (in_documents) MarkValue(tokenizer, &marked.input.documents, &marked);
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

// The text of arguments of earlier calls as the value that it is, if it is one.
void ParseArguments(Json* messages) {
  for (Json& message : *messages) {
    if (!message.contains("tool_calls") || !message["tool_calls"].is_array()) continue;
    for (Json& call : message["tool_calls"]) {
      Json& arguments = call["function"]["arguments"];
      if (!arguments.is_string()) continue;
      if (auto parsed = ParseStrictJson(arguments.get_ref<const std::string&>()); parsed.ok()) {
        arguments = std::move(*parsed);
      }
    }
  }
}

// Cuts off what the template wrote after the last message's content.
absl::Status EndWithFinalMessage(const Json& messages, std::string* rendered) {
  const Json& content = messages.back()["content"];
  std::string text = content.is_string() ? content.get<std::string>() : "";
  text.erase(text.find_last_not_of(kWhiteSpace) + 1);
  const size_t at = text.empty() ? std::string::npos : rendered->rfind(text);
  if (at == std::string::npos) {
    return InvalidField(
        "continue_final_message",
        "needs a last message with a content that the chat template leaves as it is");
  }
  size_t end = at + text.size();
  // White space at the content's end, where the template has left it.
  const absl::string_view whole = content.get_ref<const std::string&>();
  absl::string_view tail = whole.substr(whole.find_last_not_of(kWhiteSpace) + 1);
  while (!tail.empty() && end < rendered->size() && (*rendered)[end] == tail.front()) {
    tail.remove_prefix(1);
    ++end;
  }
  rendered->resize(end);
  return absl::OkStatus();
}

absl::Status CheckTools(const ServedModel& model) {
  if (!model.template_traits.shows_tools) {
    return InvalidField("tools",
                        "cannot be used: the chat template does not tell the model of tools; serve "
                        "with --chat-template FILE and one that does");
  }
  return absl::OkStatus();
}

absl::Status CheckDocuments(const ServedModel& model) {
  if (!model.template_traits.shows_documents) {
    return InvalidField("documents",
                        "cannot be used: the chat template does not show them to the model");
  }
  return absl::OkStatus();
}

// What the last tag of the turn that the answer belongs to says: earlier turns end with an
// end-of-sequence token.
PromptReasoning ReasoningAtEnd(const ServedModel& model, const ChatInput& input,
                               absl::Span<const uint32_t> token_ids) {
  // Tags that are no tokens of this model cannot be told from a content's.
  if (!model.limits.reasoning || !model.limits.reasoning->begin) {
    return input.add_generation_prompt && model.template_traits.opens_reasoning
               ? PromptReasoning::kOpen
               : PromptReasoning::kNone;
  }
  const ReasoningTokens& tags = *model.limits.reasoning;
  for (auto token = token_ids.rbegin(); token != token_ids.rend(); ++token) {
    if (*token == tags.end) return PromptReasoning::kNone;
    if (tags.begin == *token) return PromptReasoning::kOpen;
    if (model.eos_token_ids.contains(*token)) break;
  }
  // A message that is continued has begun the answer. So has a prompt whose template writes tags
  // for a question and none here: after a tool's result, that is.
  if (input.continue_final_message || model.template_traits.writes_reasoning_tags) {
    return PromptReasoning::kNone;
  }
  return PromptReasoning::kLeftToModel;
}

}  // namespace

absl::StatusOr<std::string> RenderChat(const ServedModel& model, const ChatInput& input) {
  if (model.chat_template == nullptr) {
    return InvalidField("messages", "cannot be used: the model has no chat template");
  }
  Json context = model.template_arguments;
  context.update(input.template_arguments);
  context["messages"] = input.messages;
  if (!model.template_traits.takes_argument_text) ParseArguments(&context["messages"]);
  if (!input.tools.is_null()) {
    RETURN_IF_ERROR(CheckTools(model));
    context["tools"] = input.tools;
  }
  if (!input.documents.is_null()) {
    RETURN_IF_ERROR(CheckDocuments(model));
    context["documents"] = input.documents;
  }
  context["add_generation_prompt"] = input.add_generation_prompt;
  context["bos_token"] = model.text.config.bos_token;
  context["eos_token"] = model.text.config.eos_token;
  auto rendered = model.chat_template->Render(context);
  if (!rendered.ok()) {
    return WithRefusedField(Annotate(rendered.status(), "the chat template refuses the messages"),
                            "messages");
  }
  if (input.continue_final_message) {
    RETURN_IF_ERROR(EndWithFinalMessage(input.messages, &*rendered));
  }
  return rendered;
}

absl::StatusOr<EncodedPrompt> EncodeChat(const ServedModel& model, const ChatInput& input,
                                         size_t max_tokens) {
  ASSIGN_OR_RETURN(std::string rendered, RenderChat(model, input));
  EncodedPrompt prompt;
  std::vector<ByteRange> plain_ranges;
  if (const std::optional<MarkedChat> marked = MarkContents(model, input); marked.has_value()) {
    ASSIGN_OR_RETURN(const std::string with_marks, RenderChat(model, marked->input));
    // A template that looks into a content and changes it leaves no trace of what in its text is
    // the user's: control tokens there could be the user's own.
    if (RestoreContents(with_marks, *marked, &plain_ranges) != rendered) {
      return InvalidField(marked->field,
                          "hold the text of a control token in a content that the chat template "
                          "changes; it could act as a control token");
    }
  }
  ASSIGN_OR_RETURN(prompt.token_ids, model.text.tokenizer->Encode(
                                         rendered, {.add_special_tokens = input.add_special_tokens,
                                                    .plain_ranges = plain_ranges,
                                                    .max_tokens = max_tokens}));
  prompt.reasoning = ReasoningAtEnd(model, input, prompt.token_ids);
  prompt.text = std::move(rendered);
  return prompt;
}

absl::StatusOr<std::vector<uint32_t>> EncodeText(const ServedModel& model, absl::string_view text,
                                                 bool add_special_tokens, size_t max_tokens) {
  return model.text.tokenizer->Encode(
      text, {.add_special_tokens = add_special_tokens, .max_tokens = max_tokens});
}

}  // namespace baton::gateway
