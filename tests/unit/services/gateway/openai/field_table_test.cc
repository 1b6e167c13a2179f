// The table of fields against what the parsers do, and against API.md.
#include "services/gateway/openai/field_table.h"

#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "services/gateway/admission/refusal.h"
#include "services/gateway/openai/chat_request.h"
#include "services/gateway/openai/completion_request.h"

namespace baton::gateway {
namespace {

// What becomes of a body with `members` beside what every body needs.
absl::Status Judge(FieldApi api, const Json& members) {
  static const RequestValidator validator(
      {}, {.max_model_len = 100, .vocab_size = 50, .reasoning = ReasoningTokens{.end = 4}});
  if (api == FieldApi::kChat) {
    Json body = {{"messages", {{{"role", "assistant"}, {"content", "x"}}}}};
    body.update(members);
    const auto request = ParseChatRequest(body.dump(), validator);
    return request.ok() ? validator.Admit(request->params).status() : request.status();
  }
  Json body = {{"prompt", "x"}};
  body.update(members);
  const auto request = ParseCompletionRequest(body.dump(), validator);
  return request.ok() ? validator.Admit(request->params).status() : request.status();
}

TEST(FieldTable, IsWhatBecomesOfRequests) {
  for (const FieldRow& row : FieldTable()) {
    for (const FieldApi api : {FieldApi::kChat, FieldApi::kCompletion}) {
      if (!row.BelongsTo(api)) continue;
      const absl::Status status = Judge(api, Json::parse(row.example));
      if (row.outcome == FieldOutcome::kRefused) {
        EXPECT_EQ(RefusedField(status), row.name) << row.example << ": " << status;
      } else {
        EXPECT_TRUE(status.ok()) << row.example << ": " << status;
      }
      const bool needed = !Json::parse(row.example).contains(row.name);
      EXPECT_TRUE(needed || Judge(api, {{row.name, nullptr}}).ok()) << row.name << " is null";
      if (*row.neutral == '\0') continue;
      EXPECT_TRUE(Judge(api, {{row.name, Json::parse(row.neutral)}}).ok()) << row.name;
    }
  }
}

TEST(FieldTable, AFieldThatWorksIsRead) {
  // A type that no field takes: whoever reads the field refuses it.
  for (const FieldRow& row : FieldTable()) {
    if (row.outcome != FieldOutcome::kWorks) continue;
    for (const FieldApi api : {FieldApi::kChat, FieldApi::kCompletion}) {
      if (!row.BelongsTo(api)) continue;
      Json members = Json::parse(row.example);
      members[row.name] = Json::array({Json::array({nullptr})});
      EXPECT_FALSE(Judge(api, members).ok()) << row.name << " is not read";
    }
  }
}

TEST(FieldTable, IsTheTableOfTheDocument) {
  std::ifstream file(std::string(BATON_SOURCE_DIR) + "/services/gateway/API.md");
  std::stringstream text;
  text << file.rdbuf();
  for (const FieldRow& row : FieldTable()) {
    const char* becomes = row.outcome == FieldOutcome::kWorks     ? "works"
                          : row.outcome == FieldOutcome::kRefused ? "400"
                                                                  : "ignored";
    std::string note = row.note;
    if (*row.neutral != '\0') {
      note = absl::StrCat("but for `", row.neutral, "`", note.empty() ? "" : "; ", note);
    }
    const std::string line =
        absl::StrCat("| `", row.name, "` | ", row.chat ? "x" : "", " | ", row.completion ? "x" : "",
                     " | ", becomes, " | ", note, " |\n");
    EXPECT_NE(text.str().find(line), std::string::npos) << "API.md lacks: " << line;
  }
}

}  // namespace
}  // namespace baton::gateway
