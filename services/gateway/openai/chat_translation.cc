#include "services/gateway/openai/chat_translation.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

#include "services/gateway/admission/refusal.h"
#include "services/gateway/openai/field_table.h"
#include "services/gateway/openai/request_fields.h"

namespace baton::gateway {
namespace {

constexpr char kNotInThisAnswer[] = "the answer of this API has no place for it";
constexpr UnsupportedField kFieldsOfChatAnswers[] = {
    {"n", "[1]", kNotInThisAnswer},
    {"best_of", "[1]", kNotInThisAnswer},
    {"logprobs", "[false]", kNotInThisAnswer},
    {"top_logprobs", "[0]", kNotInThisAnswer},
    {"prompt_logprobs", "[]", kNotInThisAnswer},
    {"echo", "[false]", kNotInThisAnswer},
    {"return_token_ids", "[false]", kNotInThisAnswer},
    {"return_tokens_as_token_ids", "[false]", kNotInThisAnswer},
    {"return_prompt_text", "[false]", kNotInThisAnswer},
};

constexpr char kNotInABatch[] = "a batch has one whole answer to each conversation";
constexpr UnsupportedField kRefusedInBatches[] = {
    {"stream", "[false]", kNotInABatch},
    {"stream_options", "[]", kNotInABatch},
    {"n", "[1]", kNotInABatch},
    {"best_of", "[1]", kNotInABatch},
    {"tools", "[]", "a batch calls no tools"},
    {"tool_choice", R"(["none","auto"])", "a batch calls no tools"},
    {"prompt_logprobs", "[]", "a batch says nothing of its prompts"},
    {"return_prompt_text", "[false]", "a batch says nothing of its prompts"},
    {"echo", "[false]", "a batch says nothing of its prompts"},
};

// The value at the path NAME or NAME.MEMBER; nullptr: unset.
const Json* FindSetAt(FieldReader& reader, absl::string_view path) {
  const std::pair<absl::string_view, absl::string_view> names =
      absl::StrSplit(path, absl::MaxSplits('.', 1));
  const Json* const value = reader.FindSet(names.first);
  if (names.second.empty() || value == nullptr) return value;
  if (!value->is_object()) return nullptr;
  const auto member = value->find(std::string(names.second));
  return member == value->end() || member->is_null() ? nullptr : &*member;
}

bool IsWordByte(char c) { return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_'; }

// Whether `path` is `field` or leads to it.
bool LeadsTo(absl::string_view path, absl::string_view field) {
  if (!absl::StartsWith(field, path)) return false;
  return field.size() == path.size() || field[path.size()] == '.' || field[path.size()] == '[';
}

// The client's name of a field of the chat completion.
std::string ClientsName(const ChatTranslation& translation, const std::string& field) {
  const std::pair<std::string, std::string>* longest = nullptr;
  for (const auto& name : translation.names) {
    const bool longer = longest == nullptr || name.first.size() > longest->first.size();
    if (longer && LeadsTo(name.first, field)) longest = &name;
  }
  if (longest == nullptr) return field;
  return longest->second + field.substr(longest->first.size());
}

// Replaces the word wherever it stands in the text.
void ReplaceWord(const std::string& word, const std::string& with, std::string* text) {
  for (size_t at = text->find(word); at != std::string::npos; at = text->find(word, at)) {
    const size_t end = at + word.size();
    const bool begins = at == 0 || !IsWordByte((*text)[at - 1]);
    if (begins && (end == text->size() || !IsWordByte((*text)[end]))) {
      text->replace(at, word.size(), with);
      at += with.size();
    } else {
      at = end;
    }
  }
}

}  // namespace

void ChatTranslation::Set(absl::string_view ours, absl::string_view theirs, Json value) {
  chat[std::string(ours)] = std::move(value);
  names.emplace_back(ours, theirs);
}

absl::Status RefuseFields(FieldReader& reader, absl::Span<const UnsupportedField> fields) {
  for (const UnsupportedField& field : fields) {
    const Json* value = FindSetAt(reader, field.name);
    if (value == nullptr) continue;
    const Json neutrals = Json::parse(field.neutrals);
    if (std::find(neutrals.begin(), neutrals.end(), *value) != neutrals.end()) continue;
    return InvalidField(field.name, absl::StrCat("is not supported by this server",
                                                 *field.reason != '\0' ? ": " : "", field.reason));
  }
  return absl::OkStatus();
}

absl::Span<const UnsupportedField> FieldsOfChatAnswers() { return kFieldsOfChatAnswers; }

absl::Span<const UnsupportedField> FieldsRefusedInBatches() { return kRefusedInBatches; }

void TakeRenamedFields(FieldReader& reader, const TranslatedApi& api,
                       ChatTranslation* translation) {
  for (const auto& [theirs, ours] : api.renamed) {
    const Json* value = reader.FindSet(theirs);
    if (value != nullptr) translation->Set(ours, theirs, *value);
  }
}

void AppendText(const std::string& text, Json* member) {
  if (member->is_null()) {
    *member = text;
  } else {
    member->get_ref<std::string&>() += text;  // in place: there may be very many
  }
}

absl::Status TakeChatFields(FieldReader& reader, const std::string& api,
                            ChatTranslation* translation) {
  for (const std::string& name : reader.UnknownFields()) {
    const absl::Span<const FieldRow> table = FieldTable();
    const auto row = std::find_if(table.begin(), table.end(), [&name](const FieldRow& known) {
      return known.chat && name == known.name;
    });
    if (row == table.end()) continue;
    const Json* value = reader.FindSet(name);
    if (value == nullptr) continue;
    for (const auto& [ours, theirs] : translation->names) {
      if (ours != name) continue;
      return InvalidField(name, absl::StrCat("cannot be given together with ", theirs));
    }
    translation->chat[name] = *value;
  }
  LogUnknownFields(reader, api);
  return absl::OkStatus();
}

absl::StatusOr<ChatRequest> ReadTranslatedChat(const ChatTranslation& translation,
                                               const RequestValidator& validator) {
  absl::StatusOr<ChatRequest> request = ReadChatRequest(translation.chat, validator);
  if (!request.ok()) return InClientsWords(translation, request.status());
  if (translation.without_reasoning) {
    request->include_reasoning = false;
    for (const char* name : {"thinking", "enable_thinking"}) {
      request->input.template_arguments[name] = false;
    }
    if (validator.reasons()) request->params.thinking_token_budget = 0;
  }
  return request;
}

absl::Status InClientsWords(const ChatTranslation& translation, absl::Status status) {
  const std::string field = RefusedField(status);
  if (field.empty()) return status;
  const std::string theirs = ClientsName(translation, field);
  std::string text(status.message());
  const bool begins = absl::StartsWith(text, field);
  if (begins) text = text.substr(field.size());
  // Words of English are left alone: they may be meant as such.
  for (const auto& [ours, name] : translation.names) {
    if (absl::StrContains(ours, '_') && !absl::StrContains(ours, '['))
      ReplaceWord(ours, name, &text);
  }
  absl::Status renamed(status.code(), begins ? theirs + text : text);
  status.ForEachPayload([&renamed](absl::string_view url, const absl::Cord& payload) {
    renamed.SetPayload(url, payload);
  });
  return WithRefusedField(std::move(renamed), theirs);
}

}  // namespace baton::gateway
