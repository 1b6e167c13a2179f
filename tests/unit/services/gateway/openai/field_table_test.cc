// The table of fields against what the parsers do, and against API.md.
#include "services/gateway/openai/field_table.h"

#include <algorithm>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/structured_output/schema_keywords.h"
#include "services/gateway/admission/refusal.h"
#include "services/gateway/openai/chat_request.h"
#include "services/gateway/openai/completion_request.h"

namespace baton::gateway {
namespace {

using testing::ElementsAreArray;
using testing::HasSubstr;

// A file of the sources.
std::string ReadText(const std::string& path) {
  std::ifstream file(BATON_SOURCE_DIR + path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// What becomes of a body with `members` beside what every body needs.
absl::Status Judge(FieldApi api, const Json& members, const RequestCaps& caps = {}) {
  const RequestValidator validator(
      {}, {.max_model_len = 100, .vocab_size = 50, .reasoning = ReasoningTokens{.end = 4}}, caps);
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

TEST(FieldTable, WhatIsRefusedHasAReason) {
  for (const FieldRow& row : FieldTable()) {
    if (row.outcome != FieldOutcome::kRefused) continue;
    EXPECT_FALSE(row.note.empty()) << row.name << " is refused without a reason";
    const FieldApi api = row.chat ? FieldApi::kChat : FieldApi::kCompletion;
    EXPECT_THAT(Judge(api, Json::parse(row.example)).message(), HasSubstr(row.note)) << row.name;
  }
}

// Every field that a parser asks for by name is in the table.
TEST(FieldTable, HasAllFieldsThatAreRead) {
  std::set<std::string> names;
  for (const FieldRow& row : FieldTable()) names.insert(row.name);
  const std::regex reads(R"re(\breader_?\.(?:Read|Find|FindSet)\("([a-z_]+)")re");
  size_t num_reads = 0;
  for (const char* file : {"chat_request", "completion_request", "request_fields",
                           "structured_fields", "tool_fields"}) {
    const std::string text = ReadText(absl::StrCat("/services/gateway/openai/", file, ".cc"));
    for (auto found = std::sregex_iterator(text.begin(), text.end(), reads);
         found != std::sregex_iterator(); ++found) {
      ++num_reads;
      EXPECT_TRUE(names.contains((*found)[1])) << file << ".cc reads " << (*found)[1];
    }
  }
  EXPECT_GT(num_reads, 40) << "the parsers read fields in another way";
}

// A list or a text of `count`.
using MakeValue = Json (*)(size_t count);

struct Limit {
  FieldApi api;
  const char* name;
  int64_t RequestCaps::*member;
  MakeValue make;
};

// What is counted, field by field.
std::vector<Limit> Limits() {
  const auto text = [](size_t count) -> Json { return std::string(count, 'x'); };
  const auto ids = [](size_t count) -> Json { return std::vector<int>(count, 1); };
  const auto texts = [](size_t count) -> Json { return std::vector<std::string>(count, "x"); };
  const auto number = [](size_t count) -> Json { return count; };
  const auto one_text = [](size_t count) -> Json { return {std::string(count, 'x')}; };
  const auto messages = [](size_t count) -> Json {
    return std::vector<Json>(count, {{"role", "user"}, {"content", "x"}});
  };
  const auto tools = [](size_t count) -> Json {
    std::vector<Json> made;
    for (size_t i = 0; i < count; ++i) {
      made.push_back({{"type", "function"}, {"function", {{"name", absl::StrCat("f", i)}}}});
    }
    return made;
  };
  return {
      {FieldApi::kChat, "messages", &RequestCaps::messages, messages},
      {FieldApi::kCompletion, "prompt", &RequestCaps::prompts, texts},
      {FieldApi::kChat, "n", &RequestCaps::num_choices, number},
      {FieldApi::kChat, "stop", &RequestCaps::stop_strings, texts},
      {FieldApi::kChat, "stop", &RequestCaps::stop_string_bytes, one_text},
      {FieldApi::kChat, "stop_token_ids", &RequestCaps::stop_token_ids, ids},
      {FieldApi::kCompletion, "logprobs", &RequestCaps::num_top_logprobs, number},
      {FieldApi::kChat, "prompt_logprobs", &RequestCaps::num_top_logprobs, number},
      {FieldApi::kChat, "allowed_token_ids", &RequestCaps::allowed_token_ids, ids},
      {FieldApi::kChat, "bad_words", &RequestCaps::bad_words, texts},
      {FieldApi::kChat, "bad_words", &RequestCaps::bad_word_bytes, one_text},
      {FieldApi::kChat, "cache_salt", &RequestCaps::cache_salt_bytes, text},
      {FieldApi::kChat, "request_id", &RequestCaps::request_id_bytes, text},
      {FieldApi::kChat, "stream_interval", &RequestCaps::stream_interval, number},
      {FieldApi::kChat, "tools", &RequestCaps::tools, tools},
      {FieldApi::kChat, "user", &RequestCaps::user_bytes, text},
      {FieldApi::kCompletion, "user", &RequestCaps::user_bytes, text},
  };
}

void CheckLimit(const Limit& limit, const RequestCaps& caps) {
  const auto cap = static_cast<size_t>(caps.*limit.member);
  const absl::Status most = Judge(limit.api, {{limit.name, limit.make(cap)}}, caps);
  EXPECT_TRUE(most.ok()) << limit.name << ": " << most;
  const absl::Status more = Judge(limit.api, {{limit.name, limit.make(cap + 1)}}, caps);
  EXPECT_EQ(RefusedField(more).substr(0, std::string(limit.name).size()), limit.name) << more;
  EXPECT_THAT(more.message(), HasSubstr(absl::StrCat(cap))) << limit.name;
  EXPECT_THAT(more.message(), HasSubstr(CapFlag(limit.member))) << limit.name;
  // The table, which writes the numbers of the caps, names it.
  const std::vector<FieldRow> rows = FieldRowsOf(caps);
  const bool named = std::any_of(rows.begin(), rows.end(), [&limit, cap](const FieldRow& row) {
    return row.name == std::string(limit.name) && row.BelongsTo(limit.api) &&
           absl::StrContains(row.note, absl::StrCat(cap));
  });
  EXPECT_TRUE(named) << limit.name << " " << cap;
}

TEST(FieldTable, LimitsAreThoseOfTheCaps) {
  RequestCaps others;  // as far up as their flags let them, or down
  for (const RequestCap& row : RequestCapRows()) {
    others.*row.member += others.*row.member < row.most ? 1 : -1;
  }
  for (const Limit& limit : Limits()) {
    CheckLimit(limit, RequestCaps());
    CheckLimit(limit, others);
  }
  for (const FieldRow& row : FieldTable()) {
    EXPECT_FALSE(absl::StrContains(row.note, "$")) << row.note;
    EXPECT_TRUE(Json::accept(row.schema)) << row.schema;
  }
}

TEST(FieldTable, WhatHas64BitsElsewhereSaysThatItHasNot) {
  for (const int64_t priority : {-(int64_t{1} << 31) - 1, int64_t{1} << 31}) {
    const absl::Status refused = Judge(FieldApi::kChat, {{"priority", priority}});
    EXPECT_EQ(RefusedField(refused), "priority");
    EXPECT_THAT(refused.message(), HasSubstr("32 bits"));
  }
  EXPECT_TRUE(Judge(FieldApi::kChat, {{"priority", -(int64_t{1} << 31)}}).ok());
  EXPECT_TRUE(Judge(FieldApi::kChat, {{"priority", (int64_t{1} << 31) - 1}}).ok());
}

TEST(FieldTable, TheWholeVocabularysLogprobsAreRefusedAsSuch) {
  for (const Json& members :
       {Json{{"logprobs", true}, {"top_logprobs", -1}}, Json{{"prompt_logprobs", -1}}}) {
    EXPECT_THAT(Judge(FieldApi::kChat, members).message(), HasSubstr("the whole vocabulary"));
  }
}

TEST(FieldTable, TheDocumentHasTheFlagOfEachLimit) {
  const std::string document = ReadText("/services/gateway/API.md");
  for (const RequestCap& row : RequestCapRows()) {
    EXPECT_THAT(document,
                HasSubstr(absl::StrCat("| ", row.bounds, " | `", CapFlag(row.member), "` | ",
                                       RequestCaps().*row.member, " | ", row.most, " | 400 |")));
  }
}

// vLLM's fields of chat and text completions, of both generations.
struct VllmFields {
  FieldApi api;
  std::vector<std::string> names;
};

std::vector<VllmFields> FieldsOfVllm() {
  const std::vector<std::string> both = {
      "model",
      "max_tokens",
      "temperature",
      "top_p",
      "top_k",
      "min_p",
      "presence_penalty",
      "frequency_penalty",
      "repetition_penalty",
      "n",
      "seed",
      "stop",
      "stop_token_ids",
      "include_stop_str_in_output",
      "ignore_eos",
      "min_tokens",
      "logprobs",
      "prompt_logprobs",
      "logprob_token_ids",
      "logit_bias",
      "allowed_token_ids",
      "bad_words",
      "stream",
      "stream_options",
      "stream_interval",
      "response_format",
      "structured_outputs",
      "guided_json",
      "guided_regex",
      "guided_choice",
      "guided_grammar",
      "guided_decoding_backend",
      "guided_whitespace_pattern",
      "thinking_token_budget",
      "echo",
      "add_special_tokens",
      "truncate_prompt_tokens",
      "truncation_side",
      "priority",
      "request_id",
      "session_id",
      "cache_salt",
      "kv_transfer_params",
      "ec_transfer_params",
      "vllm_xargs",
      "repetition_detection",
      "return_token_ids",
      "return_tokens_as_token_ids",
      "routed_experts_prompt_start",
      "use_beam_search",
      "length_penalty",
      "skip_special_tokens",
      "spaces_between_special_tokens",
      "user",
      "best_of",
      "logits_processors",
  };
  return {{FieldApi::kChat, both},
          {FieldApi::kCompletion, both},
          {FieldApi::kChat,
           {"messages", "max_completion_tokens", "top_logprobs", "tools", "tool_choice",
            "parallel_tool_calls", "reasoning_effort", "include_reasoning", "add_generation_prompt",
            "continue_final_message", "documents", "chat_template", "chat_template_kwargs",
            "return_prompt_text"}},
          {FieldApi::kCompletion, {"prompt", "prompt_embeds", "suffix"}}};
}

std::string NoteOf(const std::string& name) {
  for (const FieldRow& row : FieldTable()) {
    if (row.name == name) return row.note;
  }
  return "";
}

TEST(FieldTable, HasEveryFieldOfVllm) {
  for (const VllmFields& fields : FieldsOfVllm()) {
    for (const std::string& name : fields.names) {
      const bool known = std::any_of(
          FieldTable().begin(), FieldTable().end(),
          [&](const FieldRow& row) { return row.name == name && row.BelongsTo(fields.api); });
      EXPECT_TRUE(known) << name << " of " << (fields.api == FieldApi::kChat ? "chat" : "text");
    }
  }
  for (const char* option :
       {"json", "regex", "choice", "grammar", "json_object", "structural_tag",
        "disable_any_whitespace", "disable_additional_properties", "whitespace_pattern"}) {
    EXPECT_THAT(NoteOf("structured_outputs"), HasSubstr(option));
  }
  for (const char* option : {"include_usage", "continuous_usage_stats"}) {
    EXPECT_THAT(NoteOf("stream_options"), HasSubstr(option));
  }
  const std::string document = ReadText("/services/gateway/API.md");
  for (const char* header :
       {"X-Request-Id", "X-Session-ID", "X-Vllm-Priority", "X-data-parallel-rank",
        "endpoint-load-metrics-format", "traceparent"}) {
    EXPECT_THAT(document, HasSubstr(header));
  }
}

// The words in backticks of the document's row that ends so, in its section of JSON schemas.
std::vector<std::string> DocumentedKeywords(const std::string& becomes) {
  std::vector<std::string> words;
  bool in_section = false;
  for (absl::string_view line : absl::StrSplit(ReadText("/services/gateway/API.md"), '\n')) {
    if (absl::StartsWith(line, "## ")) in_section = line == "## JSON schemas";
    if (!in_section || !absl::EndsWith(line, absl::StrCat("| ", becomes, " |"))) continue;
    const std::vector<std::string> parts = absl::StrSplit(line, '`');
    for (size_t i = 1; i < parts.size(); i += 2) words.push_back(parts[i]);
  }
  return words;
}

TEST(FieldTable, TheDocumentHasTheKeywordsOfJsonSchemas) {
  EXPECT_THAT(DocumentedKeywords("works"), ElementsAreArray(structured::SupportedKeywords()));
  EXPECT_THAT(DocumentedKeywords("400"), ElementsAreArray(structured::UnsupportedKeywords()));
  for (const std::string& keyword : DocumentedKeywords("400")) {
    const Json schema = {{"type", "object"}, {keyword, Json::object()}};
    const absl::Status refused = Judge(
        FieldApi::kChat,
        {{"response_format", {{"type", "json_schema"}, {"json_schema", {{"schema", schema}}}}}});
    EXPECT_EQ(RefusedField(refused), "response_format") << keyword;
    EXPECT_THAT(refused.message(), HasSubstr(keyword));
  }
}

TEST(FieldTable, IsTheTableOfTheDocument) {
  std::vector<std::string> expected;
  for (const FieldRow& row : FieldTable()) {
    const char* becomes = row.outcome == FieldOutcome::kWorks     ? "works"
                          : row.outcome == FieldOutcome::kRefused ? "400"
                                                                  : "ignored";
    std::string note = row.note;
    if (*row.neutral != '\0') {
      note = absl::StrCat("but for `", row.neutral, "`", note.empty() ? "" : "; ", note);
    }
    expected.push_back(absl::StrCat("| `", row.name, "` | ", row.chat ? "x" : "", " | ",
                                    row.completion ? "x" : "", " | ", becomes, " | ", note, " |"));
  }
  std::vector<std::string> rows;
  bool in_table = false;
  for (absl::string_view line : absl::StrSplit(ReadText("/services/gateway/API.md"), '\n')) {
    if (absl::StartsWith(line, "## ")) in_table = line == "## Fields of chat and text completions";
    if (in_table && absl::StartsWith(line, "| `")) rows.emplace_back(line);
  }
  EXPECT_THAT(rows, ElementsAreArray(expected));
}

}  // namespace
}  // namespace baton::gateway
