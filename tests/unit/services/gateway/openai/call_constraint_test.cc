// Which strict functions are kept where not all can be.
#include "services/gateway/openai/call_constraint.h"

#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::gateway {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// An object with so many strings of at most `max_length`, which may be 0: any.
Json Strings(int count, int max_length) {
  Json schema = {{"type", "object"}, {"properties", Json::object()}};
  for (int i = 0; i < count; ++i) {
    Json& property = schema["properties"][absl::StrCat("p", i)] = {{"type", "string"}};
    if (max_length > 0) property["maxLength"] = max_length;
  }
  return schema;
}

Json Pattern(const std::string& pattern) {
  return {{"type", "object"},
          {"properties", {{"text", {{"type", "string"}, {"pattern", pattern}}}}}};
}

class CallConstraintTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const std::string root = BATON_SOURCE_DIR;
    auto model = ServedModel::Load(
        {.model_dir = root + "/tests/data/tiny-r1",
         .chat_template_path = root + "/manifests/chat_templates/deepseek_r1_tools.jinja"});
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = model->release();
  }
  static void TearDownTestSuite() { delete std::exchange(model_, nullptr); }

  // A strict function of this schema, which the model may call.
  void Offer(const std::string& name, const Json& schema) {
    fields_.choice = ToolChoice::kAuto;
    fields_.tools.push_back(
        {{"type", "function"},
         {"function", {{"name", name}, {"strict", true}, {"parameters", schema}}}});
  }

  // Names of those that are not kept. What is left is accepted as a whole: by the same code and
  // limits as on the stage.
  std::vector<std::string> Unkept(const RequestCaps& caps = {}) {
    const RequestValidator validator(model_->defaults, model_->limits, caps);
    params_ = {};
    const auto unkept =
        ConstrainToCalls({.model = *model_, .validator = validator}, fields_, &params_);
    EXPECT_TRUE(unkept.ok()) << unkept.status();
    EXPECT_TRUE(validator.Admit(params_).ok()) << validator.Admit(params_).status();
    if (params_.constraint) {
      const auto compiled = structured::CompileConstraint(params_.constraint->constraint);
      EXPECT_TRUE(compiled.ok()) << compiled.status();
    }
    std::vector<std::string> names;
    reasons_.clear();
    for (const UnkeptFunction& function : *unkept) {
      names.push_back(function.name);
      reasons_.push_back(function.reason);
    }
    return names;
  }

  // Of what is offered only so many are strict.
  void Bind(size_t count) {
    for (size_t i = 0; i < fields_.tools.size(); ++i) {
      fields_.tools[i]["function"]["strict"] = i < count;
    }
  }

  std::string Grammar() const {
    return params_.constraint ? params_.constraint->constraint.text : "";
  }

  static inline const ServedModel* model_ = nullptr;
  ToolFields fields_;
  RequestedParams params_;
  std::vector<std::string> reasons_;  // of the last Unkept, in its order
};

TEST_F(CallConstraintTest, ALargeFunctionIsKeptBesideABrokenOne) {
  Offer("broken", {{"type", "object"}, {"properties", {{"a", {{"not", Json::object()}}}}}});
  for (int i = 0; i < 20; ++i) Offer(absl::StrCat("small", i), Strings(1, 0));
  Offer("large", Strings(15, 5000));
  EXPECT_THAT(Unkept(), ElementsAre("broken"));
  EXPECT_THAT(reasons_, ElementsAre(HasSubstr("\"not\"")));
  EXPECT_THAT(Grammar(), HasSubstr("5000"));
}

TEST_F(CallConstraintTest, AFunctionWhoseSchemaNothingMatchesIsNotKept) {
  Json schema = Strings(1, 0);
  schema["properties"]["p0"] = false;
  schema["required"] = {"p0"};
  Offer("never", schema);
  Offer("small", Strings(1, 0));
  EXPECT_THAT(Unkept(), ElementsAre("never"));
  EXPECT_THAT(Grammar(), HasSubstr(R"("p0")")) << "the other one's";
}

TEST_F(CallConstraintTest, AHugeFunctionTakesNothingFromTheOthers) {
  for (const Json& huge : {Strings(60, 5000), Strings(1, 1'000'000), Pattern("^(.*a){200}$"),
                           Pattern("^((a?){100}){100}$")}) {
    fields_ = {};
    Offer("huge", huge);
    for (int i = 0; i < 5; ++i) Offer(absl::StrCat("large", i), Strings(3, 5000));
    for (int i = 0; i < 60; ++i) Offer(absl::StrCat("small", i), Strings(3, 0));
    EXPECT_THAT(Unkept(), ElementsAre("huge")) << huge;
  }
}

TEST_F(CallConstraintTest, AsManyAreKeptAsFitTheShortestFirst) {
  for (int i = 0; i < 40; ++i) Offer(absl::StrCat("even", i), Strings(1, 5000));
  Offer("longer", Strings(2, 5000));
  const std::vector<std::string> unkept = Unkept();
  ASSERT_GT(unkept.size(), 1u);
  EXPECT_EQ(unkept.back(), "longer");
  const size_t num_kept = 41 - unkept.size();
  EXPECT_EQ(unkept.front(), absl::StrCat("even", num_kept)) << "in order";
  EXPECT_THAT(reasons_, Each(HasSubstr("beside the other functions")))
      << "what the others leave of a limit is no limit";
  EXPECT_EQ(Unkept(), unkept) << "each time the same";
  // So many need no trying, and one more is too many.
  Bind(num_kept);
  EXPECT_THAT(Unkept(), IsEmpty());
  Bind(num_kept + 1);
  EXPECT_THAT(Unkept(), ElementsAre(unkept.front()));
}

TEST_F(CallConstraintTest, LongNamesTakeNoRoomTwice) {
  for (int i = 0; i < 100; ++i) Offer(absl::StrCat(std::string(120, 'n'), i), Strings(1, 3000));
  const std::vector<std::string> unkept = Unkept();
  ASSERT_THAT(unkept, Not(IsEmpty()));
  Bind(fields_.tools.size() - unkept.size() + 1);
  EXPECT_THAT(Unkept(), ElementsAre(unkept.front())) << "one more would have fitted";
}

TEST_F(CallConstraintTest, ShortSchemasAreKeptWhereTheGrammarWouldHaveTooManyBytes) {
  for (int i = 0; i < 3; ++i) {
    Json schema = Strings(1, 0);
    schema["description"] = std::string(300 + 10 * i, 'x');
    Offer(absl::StrCat("f", i), schema);
  }
  fields_.tools.push_back(fields_.tools[2]);
  fields_.tools[3]["function"]["name"] = "f3";
  EXPECT_THAT(Unkept(), IsEmpty());
  const auto num_bytes = static_cast<int64_t>(Grammar().size());
  EXPECT_THAT(Unkept({.grammar_bytes = num_bytes}), IsEmpty());
  EXPECT_THAT(Unkept({.grammar_bytes = num_bytes - 1}), ElementsAre("f3"));
  EXPECT_THAT(Unkept({.grammar_bytes = num_bytes - 400}), ElementsAre("f2", "f3"));
  EXPECT_THAT(Grammar(), HasSubstr(std::string(310, 'x')));
  EXPECT_THAT(Grammar(), Not(HasSubstr(std::string(320, 'x'))));
  // Where not even calls with any object fit, nothing is bound.
  EXPECT_THAT(Unkept({.grammar_bytes = 100}), ElementsAre("f0", "f1", "f2", "f3"));
  EXPECT_EQ(Grammar(), "");
}

TEST_F(CallConstraintTest, WhateverIsKeptIsAccepted) {
  std::mt19937 random(7);
  const auto below = [&](int bound) { return static_cast<int>(random() % bound); };
  for (int round = 0; round < 5; ++round) {
    fields_ = {};
    const int count = 5 + below(60);
    for (int i = 0; i < count; ++i) {
      const int kind = below(12);
      const Json schema = kind == 0   ? Strings(1 + below(40), 1000 + below(4000))
                          : kind == 1 ? Pattern(absl::StrCat("^(a?){", 100 + below(900), "}$"))
                          : kind == 2 ? Pattern("^(a")
                                      : Strings(1 + below(30), below(2) * below(900));
      Offer(absl::StrCat("f", i), schema);
    }
    const size_t num_unkept = Unkept().size();
    EXPECT_LT(num_unkept, fields_.tools.size()) << "round " << round;
  }
}

}  // namespace
}  // namespace baton::gateway
