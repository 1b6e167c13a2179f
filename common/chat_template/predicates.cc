#include "common/chat_template/predicates.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "common/chat_template/operators.h"
#include "common/status/status_macros.h"

namespace baton {
namespace {

using TypeTest = bool (*)(const Value&);

bool IsFunction(const Value& value) {
  return value.get_if<FunctionValue>() != nullptr || value.get_if<Value::Method>() != nullptr ||
         value.get_if<const MacroSyntax*>() != nullptr || value.is_undefined();
}

bool HasItems(const Value& value) {
  return value.is_list() || value.is_dict() || value.is_text() || value.is_undefined();
}

struct NamedTypeTest {
  absl::string_view name;
  TypeTest test;
};
constexpr std::array<NamedTypeTest, 14> kTypeTests = {{
    {"defined", [](const Value& value) { return !value.is_undefined(); }},
    {"undefined", [](const Value& value) { return value.is_undefined(); }},
    {"none", [](const Value& value) { return value.is_none(); }},
    {"boolean", [](const Value& value) { return value.is_bool(); }},
    {"true", [](const Value& value) { return value.is_bool() && value.truth(); }},
    {"false", [](const Value& value) { return value.is_bool() && !value.truth(); }},
    {"integer", [](const Value& value) { return value.is_int(); }},
    {"float", [](const Value& value) { return value.is_float(); }},
    {"number", [](const Value& value) { return value.is_number(); }},
    {"string", [](const Value& value) { return value.is_text(); }},
    {"mapping", [](const Value& value) { return value.is_dict(); }},
    {"sequence", HasItems},
    {"iterable", HasItems},
    {"callable", IsFunction},
}};

struct CompareTest {
  absl::string_view name;
  absl::string_view op;
};
constexpr std::array<CompareTest, 10> kCompareTests = {{
    {"eq", "=="},
    {"equalto", "=="},
    {"ne", "!="},
    {"lt", "<"},
    {"lessthan", "<"},
    {"le", "<="},
    {"gt", ">"},
    {"greaterthan", ">"},
    {"ge", ">="},
    {"in", "in"},
}};

template <typename Tests>
auto FindTest(const Tests& tests, absl::string_view name) {
  return std::find_if(tests.begin(), tests.end(),
                      [name](const auto& test) { return test.name == name; });
}

bool IsDivisionTest(absl::string_view name) {
  return name == "odd" || name == "even" || name == "divisibleby";
}

absl::StatusOr<bool> ApplyDivisionTest(absl::string_view name, CallArguments arguments) {
  const bool has_divisor = name == "divisibleby";
  auto bound = has_divisor ? BoundArguments::Bind(name, {"value", "num"}, 2, std::move(arguments))
                           : BoundArguments::Bind(name, {"value"}, 1, std::move(arguments));
  RETURN_IF_ERROR(bound.status());
  ASSIGN_OR_RETURN(const int64_t value, bound->Integer(0, 0));
  int64_t divisor = 2;
  if (has_divisor) {
    ASSIGN_OR_RETURN(divisor, bound->Integer(1, 0));
  }
  if (divisor == 0) return absl::InvalidArgumentError("division by zero");
  const bool divides = divisor == -1 || value % divisor == 0;
  return name == "odd" ? !divides : divides;
}

}  // namespace

bool IsTestName(absl::string_view name) {
  return FindTest(kTypeTests, name) != kTypeTests.end() ||
         FindTest(kCompareTests, name) != kCompareTests.end() || IsDivisionTest(name);
}

absl::StatusOr<bool> ApplyTest(absl::string_view name, CallArguments arguments) {
  if (IsDivisionTest(name)) return ApplyDivisionTest(name, std::move(arguments));
  if (const auto* found = FindTest(kTypeTests, name); found != kTypeTests.end()) {
    ASSIGN_OR_RETURN(const auto bound,
                     BoundArguments::Bind(name, {"value"}, 1, std::move(arguments)));
    return found->test(*bound.Get(0));
  }
  const auto* const found = FindTest(kCompareTests, name);
  if (found == kCompareTests.end()) {
    return absl::InvalidArgumentError(absl::StrCat("test '", name, "' is not supported"));
  }
  ASSIGN_OR_RETURN(const auto bound,
                   BoundArguments::Bind(name, {"value", "other"}, 2, std::move(arguments)));
  return Compare(found->op, *bound.Get(0), *bound.Get(1));
}

}  // namespace baton
