#include "services/gateway/admission/constraint_checker.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "services/gateway/admission/refusal.h"

namespace baton::gateway {
namespace {

using structured::Constraint;
using structured::ConstraintKind;

Constraint Regex(const std::string& text) { return {.kind = ConstraintKind::kRegex, .text = text}; }

TEST(ConstraintChecker, CompilesTheSameConstraintOnce) {
  ConstraintChecker checker({});
  for (int i = 0; i < 64; ++i) EXPECT_TRUE(checker.Check("a", Regex("a+")).ok());
  EXPECT_EQ(checker.num_compiled(), 1u);
  // Another kind, or another way to write it, is another constraint.
  EXPECT_TRUE(checker.Check("a", {.kind = ConstraintKind::kChoice, .choices = {"a+"}}).ok());
  EXPECT_TRUE(checker.Check("a", {.kind = ConstraintKind::kChoice, .choices = {"a", "+"}}).ok());
  EXPECT_TRUE(checker.Check("a", {.kind = ConstraintKind::kJsonObject}).ok());
  EXPECT_TRUE(checker.Check("a", {.kind = ConstraintKind::kJsonObject, .compact = true}).ok());
  EXPECT_EQ(checker.num_compiled(), 5u);
}

TEST(ConstraintChecker, RemembersRefusalsAndNamesTheFieldOfEachRequest) {
  ConstraintChecker checker({7});
  const absl::Status first = checker.Check("guided_regex", Regex("(a"));
  const absl::Status second = checker.Check("structured_outputs.regex", Regex("(a"));
  EXPECT_EQ(checker.num_compiled(), 1u);
  EXPECT_EQ(RefusedField(first), "guided_regex");
  EXPECT_EQ(RefusedField(second), "structured_outputs.regex");
  const Constraint known{.kind = ConstraintKind::kGrammar, .text = "root ::= <[7]>"};
  const Constraint unknown{.kind = ConstraintKind::kGrammar, .text = "root ::= <[8]>"};
  EXPECT_TRUE(checker.Check("grammar", known).ok());
  EXPECT_FALSE(checker.Check("grammar", unknown).ok());
}

TEST(ConstraintChecker, WithOtherLimitsAConstraintIsOneOfItsOwn) {
  ConstraintChecker checker({});
  const Constraint large = Regex("(abc){1,200}");
  const structured::CompileLimits few{.work = 100};
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(checker.Check("a", large).ok());
    EXPECT_FALSE(checker.Check("a", large, few).ok());
  }
  EXPECT_EQ(checker.num_compiled(), 2u);
}

TEST(ConstraintChecker, RemembersWhatCompilingTook) {
  ConstraintChecker checker({});
  for (int i = 0; i < 2; ++i) {
    structured::CompileCost cost;
    EXPECT_TRUE(checker.Check("a", Regex("(abc){1,200}"), {}, &cost).ok());
    EXPECT_GT(cost.num_nodes, 600u);
    structured::CompileCost refused;
    EXPECT_FALSE(checker.Check("a", Regex("(abc){1,200}"), {.work = 100}, &refused).ok());
    EXPECT_GT(refused.work, 100u);
    EXPECT_LT(refused.work, cost.work);
  }
  EXPECT_EQ(checker.num_compiled(), 2u);
}

TEST(ConstraintChecker, ForgetsTheOldestPastItsCapacity) {
  ConstraintChecker checker({}, /*capacity_bytes=*/1000);
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(checker.Check("a", Regex(absl::StrCat("a", i))).ok());
  }
  EXPECT_EQ(checker.num_compiled(), 100u);
  EXPECT_TRUE(checker.Check("a", Regex("a99")).ok());
  EXPECT_EQ(checker.num_compiled(), 100u) << "among the latest";
  EXPECT_TRUE(checker.Check("a", Regex("a0")).ok());
  EXPECT_EQ(checker.num_compiled(), 101u);
}

}  // namespace
}  // namespace baton::gateway
