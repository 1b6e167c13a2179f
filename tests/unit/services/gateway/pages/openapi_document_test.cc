#include "services/gateway/pages/openapi_document.h"

#include <string>

#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "services/gateway/json/strict_json.h"
#include "services/gateway/openai/field_table.h"
#include "services/gateway/pages/chat_page.h"

namespace baton::gateway {
namespace {

using testing::HasSubstr;
using testing::Not;

Json Document() { return *ParseJsonObject(OpenApiDocument(RequestCaps())); }

// Calls `check` with each name that a "$ref" under `json` refers to.
template <typename Check>
void ForEachReference(const Json& json, const Check& check) {
  if (!json.is_structured()) return;
  for (const auto& [key, value] : json.items()) {
    if (key == "$ref") check(value.template get<std::string>());
    ForEachReference(value, check);
  }
}

TEST(OpenApiDocument, DefinesWhatItRefersTo) {
  const Json document = Document();
  const Json& schemas = document["components"]["schemas"];
  int num_references = 0;
  ForEachReference(document, [&](std::string reference) {
    ++num_references;
    absl::string_view name = reference;
    ASSERT_TRUE(absl::ConsumePrefix(&name, "#/components/schemas/")) << reference;
    EXPECT_TRUE(schemas.contains(std::string(name))) << reference;
  });
  EXPECT_GT(num_references, 20);
}

TEST(OpenApiDocument, HasEveryFieldOfBothRequestsThatMayBeGiven) {
  const Json document = Document();
  const Json& schemas = document["components"]["schemas"];
  const Json& chat = schemas["ChatRequest"]["properties"];
  const Json& completion = schemas["CompletionRequest"]["properties"];
  for (const FieldRow& row : FieldTable()) {
    const bool taken = row.outcome != FieldOutcome::kRefused || *row.neutral != '\0';
    EXPECT_TRUE(!row.chat || chat.contains(row.name) == taken) << row.name;
    EXPECT_TRUE(!row.completion || completion.contains(row.name) == taken) << row.name;
    if (row.outcome != FieldOutcome::kRefused || !taken) continue;
    const Json& refused = (row.chat ? chat : completion)[row.name];
    EXPECT_THAT(refused["description"].get<std::string>(), HasSubstr("not supported")) << row.name;
    EXPECT_EQ(refused["enum"], Json::array({Json::parse(row.neutral)})) << row.name;
  }
  EXPECT_EQ(schemas["ChatRequest"]["required"], Json::array({"messages"}));
  EXPECT_EQ(schemas["CompletionRequest"]["required"], Json::array({"prompt"}));
}

TEST(OpenApiDocument, SaysWhatNeedsAKey) {
  const Json document = Document();
  EXPECT_TRUE(document["paths"]["/v1/messages"]["post"].contains("security"));
  for (const char* guarded : {"/load", "/version", "/metrics"}) {
    EXPECT_TRUE(document["paths"][guarded]["get"].contains("security")) << guarded;
  }
  for (const char* open : {"/health", "/health/live", "/health/ready", "/ping"}) {
    EXPECT_FALSE(document["paths"][open]["get"].contains("security")) << open;
  }
}

TEST(Pages, TakeNothingFromElsewhere) {
  for (const std::string& page : {std::string(ChatPage()), std::string(DocsPage())}) {
    EXPECT_THAT(page, testing::StartsWith("<!DOCTYPE html>"));
    for (const char* mark : {"http://", "https://", "src=", "@import", "url(", "innerHTML"}) {
      EXPECT_THAT(page, Not(HasSubstr(mark)));
    }
  }
}

}  // namespace
}  // namespace baton::gateway
