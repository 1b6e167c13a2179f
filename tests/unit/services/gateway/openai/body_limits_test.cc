// Limits of a body as JSON, and of the constraints in it.
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "services/gateway/openai/chat_request.h"

namespace baton::gateway {
namespace {

using testing::HasSubstr;

// What becomes of a chat completion with `members` beside what every body needs.
absl::Status JudgeBody(const Json& members, const RequestCaps& caps) {
  const RequestValidator validator({}, {.max_model_len = 100, .vocab_size = 50}, caps);
  Json body = {{"messages", {{{"role", "user"}, {"content", "x"}}}}};
  body.update(members);
  const auto request = ParseChatRequest(body.dump(), validator);
  return request.ok() ? validator.Admit(request->params).status() : request.status();
}

// A constraint of `count` bytes in all.
Json ConstraintOf(const std::string& kind, size_t count) {
  if (kind == "json") {
    const std::string begun = R"({"const":")";
    return {{kind, begun + std::string(count - begun.size() - 2, 'x') + "\"}"}};
  }
  if (kind == "choice") return {{kind, {"x", std::string(count - 1, 'y')}}};
  if (kind == "whitespace_pattern") return {{"json_object", true}, {kind, std::string(count, ' ')}};
  if (kind == "regex") return {{kind, std::string(count, 'x')}};
  const std::string begun = "root ::= \"";
  return {{kind, begun + std::string(count - begun.size() - 1, 'x') + "\""}};
}

TEST(BodyLimits, SizesOfConstraintsAreThoseOfTheCaps) {
  RequestCaps caps;
  caps.schema_bytes = 40;
  caps.regex_bytes = 30;
  caps.grammar_bytes = 50;
  for (const auto& [kind, cap] : std::vector<std::pair<std::string, int64_t RequestCaps::*>>{
           {"json", &RequestCaps::schema_bytes},
           {"regex", &RequestCaps::regex_bytes},
           {"whitespace_pattern", &RequestCaps::regex_bytes},
           {"choice", &RequestCaps::grammar_bytes},
           {"grammar", &RequestCaps::grammar_bytes}}) {
    const auto judge = [&, name = kind](size_t count) {
      return JudgeBody({{"structured_outputs", ConstraintOf(name, count)}}, caps);
    };
    const auto most = static_cast<size_t>(caps.*cap);
    EXPECT_TRUE(judge(most).ok()) << kind << judge(most);
    EXPECT_THAT(judge(most + 1).message(),
                HasSubstr(absl::StrCat("at most ", most, " (", CapFlag(cap), ")")))
        << kind;
  }
}

TEST(BodyLimits, BodiesAreAsDeepAndAsLargeAsTheCapsLetThem) {
  const auto nested = [](int64_t depth) {  // a level less than the body
    return Json{{"metadata", Json::parse(std::string(depth, '[') + std::string(depth, ']'))}};
  };
  RequestCaps caps;
  for (const int64_t most : {int64_t{10}, caps.json_depth, int64_t{256}}) {
    caps.json_depth = most;
    EXPECT_TRUE(JudgeBody(nested(most - 1), caps).ok()) << most;
    EXPECT_THAT(JudgeBody(nested(most), caps).message(),
                HasSubstr(absl::StrCat("more than ", most,
                                       " nested arrays and objects "
                                       "(--max-json-depth)")));
  }
  caps = RequestCaps();
  caps.json_keys = 2;
  EXPECT_TRUE(JudgeBody({{"a", 1}}, caps).ok());
  EXPECT_THAT(JudgeBody({{"a", 1}, {"b", 1}}, caps).message(),
              HasSubstr("more than 2 keys (--max-json-keys)"));
  caps = RequestCaps();
  caps.json_values = 7;  // five without the field
  EXPECT_TRUE(JudgeBody({{"a", {1}}}, caps).ok());
  EXPECT_THAT(JudgeBody({{"a", {1, 2}}}, caps).message(),
              HasSubstr("more than 7 values (--max-json-values)"));
}

}  // namespace
}  // namespace baton::gateway
