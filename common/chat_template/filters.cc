#include "common/chat_template/filters.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "common/chat_template/methods.h"
#include "common/chat_template/operators.h"
#include "common/chat_template/python_text.h"
#include "common/chat_template/sequence_filters.h"
#include "common/chat_template/value_text.h"
#include "common/status/status_macros.h"

namespace baton {
namespace {

using FilterFunction = absl::StatusOr<Value> (*)(absl::string_view name, CallArguments arguments,
                                                 Budget& budget);

// json.dumps' indent: a number of blanks, or a text.
absl::Status ReadIndent(const BoundArguments& bound, size_t place, JsonStyle& style) {
  if (bound.IsNone(place)) return absl::OkStatus();
  if (bound.Get(place)->is_text()) {
    style.indent = bound.Get(place)->text();
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const int64_t width, bound.Integer(place, 0));
  if (width > 64) return absl::InvalidArgumentError("tojson(): 'indent' is more than 64");
  style.indent = std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
  return absl::OkStatus();
}

absl::StatusOr<Value> ToJson(absl::string_view name, CallArguments arguments, Budget& budget) {
  ASSIGN_OR_RETURN(
      const auto bound,
      BoundArguments::Bind(name, {"value", "ensure_ascii", "indent", "separators", "sort_keys"}, 1,
                           std::move(arguments)));
  JsonStyle style;
  style.ensure_ascii = bound.Truth(1);
  style.sort_keys = bound.Truth(4);
  RETURN_IF_ERROR(ReadIndent(bound, 2, style));
  if (!bound.IsNone(3)) {
    const Value& separators = *bound.Get(3);
    if (!separators.is_list() || separators.items().size() != 2 ||
        !separators.items()[0].is_text() || !separators.items()[1].is_text()) {
      return absl::InvalidArgumentError("tojson(): 'separators' is not two texts");
    }
    style.item_separator = separators.items()[0].text();
    style.key_separator = separators.items()[1].text();
  }
  ASSIGN_OR_RETURN(std::string json, JsonOf(*bound.Get(0), style));
  RETURN_IF_ERROR(budget.SpendText(json.size()));
  return Value(std::move(json));
}

absl::StatusOr<Value> Length(absl::string_view name, CallArguments arguments, Budget&) {
  ASSIGN_OR_RETURN(const auto bound,
                   BoundArguments::Bind(name, {"value"}, 1, std::move(arguments)));
  ASSIGN_OR_RETURN(const int64_t length, LengthOf(*bound.Get(0)));
  return Value(length);
}

absl::StatusOr<Value> Default(absl::string_view name, CallArguments arguments, Budget&) {
  ASSIGN_OR_RETURN(
      const auto bound,
      BoundArguments::Bind(name, {"value", "default_value", "boolean"}, 1, std::move(arguments)));
  const Value& value = *bound.Get(0);
  const bool missing = value.is_undefined() || (bound.Truth(2) && !value.truth());
  if (!missing) return value;
  return bound.Get(1) == nullptr ? Value(std::string()) : *bound.Get(1);
}

absl::StatusOr<Value> Trim(absl::string_view name, CallArguments arguments, Budget& budget) {
  ASSIGN_OR_RETURN(const auto bound,
                   BoundArguments::Bind(name, {"value", "chars"}, 1, std::move(arguments)));
  ASSIGN_OR_RETURN(const std::string text, TextOf(*bound.Get(0)));
  RETURN_IF_ERROR(budget.SpendText(text.size()));
  if (bound.IsNone(1)) return Value(StripNamed("strip", text, nullptr));
  ASSIGN_OR_RETURN(const std::string characters, bound.Text(1));
  return Value(StripNamed("strip", text, &characters));
}

absl::StatusOr<Value> Case(absl::string_view name, CallArguments arguments, Budget& budget) {
  ASSIGN_OR_RETURN(const auto bound,
                   BoundArguments::Bind(name, {"value"}, 1, std::move(arguments)));
  ASSIGN_OR_RETURN(const std::string text, TextOf(*bound.Get(0)));
  RETURN_IF_ERROR(budget.SpendText(text.size()));
  return ChangeCase(name, text);
}

absl::StatusOr<Value> String(absl::string_view name, CallArguments arguments, Budget& budget) {
  ASSIGN_OR_RETURN(const auto bound,
                   BoundArguments::Bind(name, {"value"}, 1, std::move(arguments)));
  ASSIGN_OR_RETURN(std::string text, TextOf(*bound.Get(0)));
  RETURN_IF_ERROR(budget.SpendText(text.size()));
  return Value(std::move(text));
}

absl::StatusOr<Value> ReplaceFilter(absl::string_view name, CallArguments arguments,
                                    Budget& budget) {
  if (arguments.values.empty()) return absl::InvalidArgumentError("replace has no value");
  ASSIGN_OR_RETURN(std::string text, TextOf(arguments.values[0]));
  arguments.values.erase(arguments.values.begin());
  return CallMethod({Value(std::move(text)), "replace"}, std::move(arguments), budget);
}

absl::StatusOr<Value> Indent(absl::string_view name, CallArguments arguments, Budget& budget) {
  ASSIGN_OR_RETURN(
      const auto bound,
      BoundArguments::Bind(name, {"value", "width", "first", "blank"}, 1, std::move(arguments)));
  ASSIGN_OR_RETURN(std::string text, bound.Text(0));
  std::string indention = "    ";
  if (bound.Get(1) != nullptr && bound.Get(1)->is_text()) {
    indention = bound.Get(1)->text();
  } else {
    ASSIGN_OR_RETURN(const int64_t width, bound.Integer(1, 4));
    if (width > 1000) return absl::InvalidArgumentError("indent(): 'width' is more than 1000");
    indention.assign(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
  }
  text.push_back('\n');
  const std::vector<absl::string_view> lines = SplitLines(text, /*keep_ends=*/false);
  RETURN_IF_ERROR(budget.SpendText(text.size() + lines.size() * indention.size()));
  std::string out = bound.Truth(2) ? indention : "";
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out.push_back('\n');
    if (i > 0 && (bound.Truth(3) || !lines[i].empty())) out += indention;
    absl::StrAppend(&out, lines[i]);
  }
  return Value(std::move(out));
}

// int() and float() of Python, with the fallback where they would fail.
absl::StatusOr<Value> Number(absl::string_view name, CallArguments arguments, Budget&) {
  ASSIGN_OR_RETURN(const auto bound,
                   BoundArguments::Bind(name, {"value", "default"}, 1, std::move(arguments)));
  const bool whole = name == "int";
  const Value& value = *bound.Get(0);
  if (value.is_undefined()) return absl::InvalidArgumentError(value.undefined_text());
  if (value.is_integral()) {
    return whole ? Value(value.integer()) : Value(static_cast<double>(value.integer()));
  }
  double number = NAN;
  if (value.is_float()) number = value.number();
  if (value.is_text()) {
    const std::string text(StripNamed("strip", value.text(), nullptr));
    int64_t integer = 0;
    if (whole && absl::SimpleAtoi(text, &integer)) return Value(integer);
    if (!absl::SimpleAtod(text, &number)) number = NAN;
  }
  if (!whole && !std::isnan(number)) return Value(number);
  if (whole && std::fabs(number) < 9.2e18) return Value(static_cast<int64_t>(number));
  if (bound.Get(1) != nullptr) return *bound.Get(1);
  return whole ? Value(int64_t{0}) : Value(0.0);
}

struct Filter {
  absl::string_view name;
  FilterFunction function;
};
constexpr std::array<Filter, 25> kFilters = {{
    {"capitalize", Case},
    {"count", Length},
    {"d", Default},
    {"default", Default},
    {"first", EndFilter},
    {"float", Number},
    {"indent", Indent},
    {"int", Number},
    {"items", ItemsFilter},
    {"join", JoinFilter},
    {"last", EndFilter},
    {"length", Length},
    {"list", ListFilter},
    {"lower", Case},
    {"map", MapFilter},
    {"reject", SelectFilter},
    {"rejectattr", SelectFilter},
    {"replace", ReplaceFilter},
    {"reverse", ReverseFilter},
    {"select", SelectFilter},
    {"selectattr", SelectFilter},
    {"string", String},
    {"tojson", ToJson},
    {"trim", Trim},
    {"upper", Case},
}};

const Filter* FindFilter(absl::string_view name) {
  const auto* const found =
      std::find_if(kFilters.begin(), kFilters.end(),
                   [name](const Filter& filter) { return filter.name == name; });
  return found == kFilters.end() ? nullptr : found;
}

}  // namespace

bool IsFilterName(absl::string_view name) { return FindFilter(name) != nullptr; }

absl::StatusOr<Value> ApplyFilter(absl::string_view name, CallArguments arguments, Budget& budget) {
  const Filter* const filter = FindFilter(name);
  if (filter == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("filter '", name, "' is not supported"));
  }
  return filter->function(name, std::move(arguments), budget);
}

}  // namespace baton
