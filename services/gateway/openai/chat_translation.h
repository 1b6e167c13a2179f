// Bodies of other APIs in the words of /v1/chat/completions, so that fields, ranges, tools and
// template are judged in one place, and the way back: a refusal names the client's own field.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

#include "services/gateway/admission/request_validator.h"
#include "services/gateway/json/field_reader.h"
#include "services/gateway/json/strict_json.h"
#include "services/gateway/openai/chat_request.h"

namespace baton::gateway {

struct ChatTranslation {
  Json chat = Json::object();  // the chat completion that asks for the same
  // Paths in `chat` that the client's body calls otherwise, with what it calls them; what follows a
  // path is called the same.
  std::vector<std::pair<std::string, std::string>> names;
  bool without_reasoning = false;  // the model is to answer at once

  // Sets the member `ours` of `chat`, which the client calls `theirs`.
  void Set(absl::string_view ours, absl::string_view theirs, Json value);
};

// A field that an API, or a use of it, cannot honour.
struct UnsupportedField {
  const char* name;         // "text.verbosity" is a member of `text`
  const char* neutrals;     // JSON list of the values that ask for nothing
  const char* reason = "";  // may be empty
};

// A field that chat completions do not have, or in another shape.
struct OwnField {
  const char* name;
  const char* schema;   // JSON schema of its values, but for members that are unsupported
  const char* example;  // JSON: members of a body that use it
  bool ignored = false;
};

// A field with the meaning and type of one of chat completions.
struct RenamedField {
  const char* theirs;
  const char* ours;
};

// All fields of an API beside those of chat completions: the parser and the OpenAPI document go by
// it.
struct TranslatedApi {
  absl::Span<const RenamedField> renamed;
  absl::Span<const OwnField> own;
  absl::Span<const UnsupportedField> unsupported;
};

// Refuses an object that has one of these fields with a value that asks for something. null asks
// for nothing. Errors: InvalidArgument.
absl::Status RefuseFields(FieldReader& reader, absl::Span<const UnsupportedField> fields);

// Fields of chat completions that have no place in the answers of other APIs.
absl::Span<const UnsupportedField> FieldsOfChatAnswers();
// Those that have none in the answer to several conversations.
absl::Span<const UnsupportedField> FieldsRefusedInBatches();

// Sets the members of `translation` that the body has under another name.
void TakeRenamedFields(FieldReader& reader, const TranslatedApi& api, ChatTranslation* translation);

// Goes on with the text that `member` is; null is an empty one.
void AppendText(const std::string& text, Json* member);

// Takes over the fields of chat completions that the body has and nobody has asked `reader` for:
// they mean the same under `api`, or are refused for the same reason. What is left nobody knows; it
// is named in the debug log. Errors: InvalidArgument (one that says what another field says, too).
absl::Status TakeChatFields(FieldReader& reader, const std::string& api,
                            ChatTranslation* translation);

// As ReadChatRequest, in the client's words. Without reasoning, the template is asked to close it
// (`thinking` and `enable_thinking` are false), and what a prompt opens, or the model, has a budget
// of no tokens.
absl::StatusOr<ChatRequest> ReadTranslatedChat(const ChatTranslation& translation,
                                               const RequestValidator& validator);

// `status` with the client's name of the field that it refuses, in its text, too.
absl::Status InClientsWords(const ChatTranslation& translation, absl::Status status);

}  // namespace baton::gateway
