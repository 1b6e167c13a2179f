// The schemas of requests against what the parsers take, both ways.
#include "services/gateway/pages/openapi_schemas.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"

#include "services/gateway/admission/refusal.h"
#include "services/gateway/admission/request_validator.h"
#include "services/gateway/anthropic/messages_fields.h"
#include "services/gateway/anthropic/messages_request.h"
#include "services/gateway/json/field_reader.h"
#include "services/gateway/json/strict_json.h"
#include "services/gateway/openai/chat_request.h"
#include "services/gateway/openai/chat_translation.h"
#include "services/gateway/openai/completion_request.h"
#include "services/gateway/openai/field_table.h"
#include "services/gateway/responses/responses_fields.h"
#include "services/gateway/responses/responses_request.h"

namespace baton::gateway {
namespace {

// A request of one kind: its schema, what every body needs, and what becomes of a body.
struct RequestKind {
  const char* schema;
  const char* body;
  absl::Status (*judge)(const Json& body);
  const TranslatedApi* api = nullptr;  // null: fields are those of chat or text completions
  FieldApi table = FieldApi::kChat;
};

const RequestValidator& Validator() {
  static const RequestValidator validator(
      {}, {.max_model_len = 100, .vocab_size = 50, .reasoning = ReasoningTokens{.end = 4}});
  return validator;
}

template <typename Request>
absl::Status JudgeRequest(const absl::StatusOr<Request>& request) {
  return request.ok() ? Validator().Admit(request->params).status() : request.status();
}

absl::Status JudgeTranslation(const absl::StatusOr<ChatTranslation>& translation) {
  if (!translation.ok()) return translation.status();
  const absl::Status status = JudgeRequest(ReadTranslatedChat(*translation, Validator()));
  return status.ok() ? status : InClientsWords(*translation, status);
}

absl::Status JudgeChat(const Json& body) {
  return JudgeRequest(ReadChatRequest(body, Validator()));
}

absl::Status JudgeCompletion(const Json& body) {
  return JudgeRequest(ParseCompletionRequest(body.dump(), Validator()));
}

// Each conversation of a batch is a chat completion.
absl::Status JudgeBatch(const Json& body) {
  FieldReader reader(body);
  const absl::Status status = RefuseFields(reader, FieldsRefusedInBatches());
  return status.ok() ? JudgeChat(body) : status;
}

absl::Status JudgeMessages(const Json& body) {
  return JudgeTranslation(ChatOfMessages(body.dump(), MessagesUse::kAnswer));
}

absl::Status JudgeCount(const Json& body) {
  return JudgeTranslation(ChatOfMessages(body.dump(), MessagesUse::kCount));
}

absl::Status JudgeResponses(const Json& body) {
  auto request = ParseResponsesRequest(body.dump());
  if (!request.ok()) return request.status();
  return JudgeTranslation(std::move(request->translation));
}

constexpr char kChatBody[] = R"({"messages":[{"role":"assistant","content":"x"}]})";
constexpr char kMessagesBody[] = R"({"max_tokens":50,"messages":[{"role":"user","content":"x"}]})";
constexpr char kCountBody[] = R"({"messages":[{"role":"user","content":"x"}]})";

const RequestKind kKinds[] = {
    {"ChatRequest", kChatBody, JudgeChat},
    {"ChatBatchRequest", kChatBody, JudgeBatch},
    {"CompletionRequest", R"({"prompt":"x"})", JudgeCompletion, nullptr, FieldApi::kCompletion},
    {"MessagesRequest", kMessagesBody, JudgeMessages, &MessagesApi()},
    {"CountTokensRequest", kCountBody, JudgeCount, &MessagesApi()},
    {"ResponsesRequest", R"({"input":"x"})", JudgeResponses, &ResponsesApi()},
};

absl::Status JudgeWith(const RequestKind& kind, const Json& members) {
  Json body = Json::parse(kind.body);
  body.update(members);
  return kind.judge(body);
}

const Json& Properties(const RequestKind& kind) {
  static const auto* const schemas = new Json(OpenApiSchemas(RequestCaps()));
  return schemas->at(kind.schema).at("properties");
}

// The schema at NAME or NAME.MEMBER; null: there is none.
Json SchemaAt(const RequestKind& kind, const std::string& path) {
  const std::pair<std::string, std::string> names = absl::StrSplit(path, absl::MaxSplits('.', 1));
  Json schema = Properties(kind).value(names.first, Json());
  if (names.second.empty() || schema.is_null()) return schema;
  return schema["properties"].value(names.second, Json());
}

// A body's members with this value at NAME or NAME.MEMBER.
Json MembersWith(const std::string& path, const Json& value) {
  const std::pair<std::string, std::string> names = absl::StrSplit(path, absl::MaxSplits('.', 1));
  if (names.second.empty()) return {{path, value}};
  return {{names.first, {{names.second, value}}}};
}

bool IsOwn(const RequestKind& kind, const std::string& name) {
  if (kind.api == nullptr) return false;
  return std::any_of(kind.api->own.begin(), kind.api->own.end(),
                     [&name](const OwnField& field) { return name == field.name; });
}

bool IsIgnored(const RequestKind& kind, const std::string& name) {
  for (const FieldRow& row : FieldTable()) {
    if (name == row.name && row.outcome == FieldOutcome::kIgnored) return true;
  }
  if (kind.api == nullptr) return false;
  return std::any_of(kind.api->own.begin(), kind.api->own.end(), [&name](const OwnField& field) {
    return name == field.name && field.ignored;
  });
}

bool Allows(const Json& schema, const Json& value) {
  if (schema.is_null()) return false;
  if (!schema.contains("enum")) return true;
  const Json& values = schema["enum"];
  return std::find(values.begin(), values.end(), value) != values.end();
}

// Whether the schema allows each member, as far as whether it is there and its listed values go.
bool AllowsAll(const RequestKind& kind, const Json& members) {
  for (const auto& [name, value] : members.items()) {
    if (!Allows(SchemaAt(kind, name), value)) return false;
  }
  return true;
}

TEST(OpenApiSchemas, HaveAFieldOfTheTableIfAndOnlyIfItsExampleIsTaken) {
  for (const RequestKind& kind : kKinds) {
    const bool counts = std::string(kind.schema) == "CountTokensRequest";
    for (const FieldRow& row : FieldTable()) {
      Json members = Json::parse(row.example);
      if (!row.BelongsTo(kind.table) || !members.contains(row.name)) continue;
      if (IsOwn(kind, row.name)) continue;  // in another shape
      // An example may have company that this kind does not take.
      if (!AllowsAll(kind, members)) members = {{row.name, members[row.name]}};
      const absl::Status status = JudgeWith(kind, members);
      if (AllowsAll(kind, members)) {
        EXPECT_TRUE(status.ok()) << kind.schema << " " << members << ": " << status;
      } else if (!counts) {
        EXPECT_EQ(RefusedField(status), row.name) << kind.schema << " lacks it: " << status;
      }
    }
  }
}

TEST(OpenApiSchemas, HaveNothingThatIsNotRead) {
  // A value that no field takes: whoever reads the field refuses it.
  const Json wrong = Json::array({Json::array({nullptr})});
  for (const RequestKind& kind : kKinds) {
    EXPECT_GT(Properties(kind).size(), 15u) << kind.schema;
    for (const auto& [name, schema] : Properties(kind).items()) {
      if (IsIgnored(kind, name)) continue;
      const absl::Status status = JudgeWith(kind, {{name, wrong}});
      EXPECT_TRUE(absl::StartsWith(RefusedField(status), name))
          << kind.schema << " " << name << ": " << status;
    }
  }
}

TEST(OpenApiSchemas, HaveTheFieldsOfEachApiWithTheValuesThatAreTaken) {
  for (const RequestKind& kind : kKinds) {
    if (kind.api == nullptr) continue;
    for (const OwnField& field : kind.api->own) {
      EXPECT_TRUE(Properties(kind).contains(field.name)) << kind.schema << " " << field.name;
      const absl::Status status = JudgeWith(kind, Json::parse(field.example));
      EXPECT_TRUE(status.ok()) << kind.schema << " " << field.example << ": " << status;
    }
    for (const UnsupportedField& field : kind.api->unsupported) {
      const Json schema = SchemaAt(kind, field.name);
      const Json neutrals = Json::parse(field.neutrals);
      EXPECT_EQ(schema.is_null() ? Json::array() : schema["enum"], neutrals)
          << kind.schema << " " << field.name;
      for (const Json& value : neutrals) {
        const absl::Status status = JudgeWith(kind, MembersWith(field.name, value));
        EXPECT_TRUE(status.ok()) << kind.schema << " " << field.name << ": " << status;
      }
      for (const Json& value : {Json("no such value"), Json(1000)}) {
        EXPECT_EQ(RefusedField(JudgeWith(kind, MembersWith(field.name, value))), field.name)
            << kind.schema;
      }
    }
  }
}

TEST(OpenApiSchemas, HaveTheFieldsOfOtherNames) {
  for (const RequestKind& kind : kKinds) {
    if (kind.api == nullptr || kind.judge == JudgeCount) continue;
    for (const auto& [theirs, ours] : kind.api->renamed) {
      const std::string name = ours;
      const auto row =
          std::find_if(FieldTable().begin(), FieldTable().end(),
                       [&name](const FieldRow& known) { return known.chat && name == known.name; });
      ASSERT_NE(row, FieldTable().end()) << ours;
      EXPECT_EQ(SchemaAt(kind, theirs).value("description", ""), row->note) << theirs;
      const absl::Status status = JudgeWith(kind, {{theirs, Json::parse(row->example)[row->name]}});
      EXPECT_TRUE(status.ok()) << kind.schema << " " << theirs << ": " << status;
    }
  }
}

// What the prompt of a chat completion with these members is made of.
std::string InputOf(const Json& members) {
  Json body = {{"messages", {{{"role", "assistant"}, {"content", "x"}}}}};
  body.update(members);
  const auto request = ReadChatRequest(body, Validator());
  EXPECT_TRUE(request.ok()) << request.status();
  if (!request.ok()) return "";
  const ChatInput& input = request->input;
  return absl::StrCat(input.messages.dump(), input.tools.dump(), input.documents.dump(),
                      input.template_arguments.dump(), input.add_generation_prompt,
                      input.continue_final_message, input.add_special_tokens);
}

TEST(OpenApiSchemas, ACountHasTheFieldsThatThePromptDependsOn) {
  for (const FieldRow& row : FieldTable()) {
    const std::string name = row.name;
    if (!row.chat || row.outcome != FieldOutcome::kWorks || name == "messages") continue;
    Json members = Json::parse(row.example);
    const std::string with = InputOf(members);
    members.erase(name);
    const bool of_prompt = std::any_of(PromptFields().begin(), PromptFields().end(),
                                       [&name](const char* field) { return name == field; });
    EXPECT_EQ(with != InputOf(members), of_prompt) << name;
  }
  const Json schemas = OpenApiSchemas(RequestCaps());
  for (const char* schema : {"CountTokensRequest", "TokenizeRequest"}) {
    const Json& properties = schemas[schema]["properties"];
    for (const char* name : PromptFields()) EXPECT_TRUE(properties.contains(name)) << name;
    for (const char* name : {"stream", "max_tokens", "temperature"}) {
      EXPECT_FALSE(properties.contains(name)) << schema << " " << name;
    }
  }
}

}  // namespace
}  // namespace baton::gateway
