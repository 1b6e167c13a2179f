#include "common/chat_template/methods.h"

#include <algorithm>
#include <initializer_list>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "common/chat_template/python_text.h"
#include "common/status/status_macros.h"

namespace baton {
namespace {

using Names = std::initializer_list<absl::string_view>;

bool IsIn(Names names, absl::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

absl::Status NotSupported(const MethodValue& method) {
  return absl::InvalidArgumentError(absl::StrCat("method ", method.name, "() of a ",
                                                 method.self.type_name(),
                                                 " is not supported in a chat template"));
}

Value ListOfTexts(const std::vector<absl::string_view>& parts) {
  std::vector<Value> items;
  items.reserve(parts.size());
  for (const absl::string_view part : parts) items.emplace_back(part);
  return Value::ListOf(std::move(items));
}

absl::StatusOr<Value> Split(const MethodValue& method, CallArguments arguments) {
  ASSIGN_OR_RETURN(const auto bound,
                   BoundArguments::Bind(method.name, {"sep", "maxsplit"}, 0, std::move(arguments)));
  ASSIGN_OR_RETURN(const int64_t max_splits, bound.Integer(1, -1));
  const bool from_right = method.name == "rsplit";
  if (bound.IsNone(0)) {
    if (from_right && max_splits >= 0) return NotSupported(method);
    return ListOfTexts(SplitWhiteSpace(method.self.text(), max_splits));
  }
  ASSIGN_OR_RETURN(const std::string separator, bound.Text(0));
  if (separator.empty()) return absl::InvalidArgumentError("empty separator");
  return ListOfTexts(from_right ? SplitTextFromRight(method.self.text(), separator, max_splits)
                                : SplitText(method.self.text(), separator, max_splits));
}

absl::StatusOr<Value> Strip(const MethodValue& method, CallArguments arguments) {
  ASSIGN_OR_RETURN(const auto bound,
                   BoundArguments::Bind(method.name, {"chars"}, 0, std::move(arguments)));
  if (bound.IsNone(0)) return Value(StripNamed(method.name, method.self.text(), nullptr));
  ASSIGN_OR_RETURN(const std::string characters, bound.Text(0));
  return Value(StripNamed(method.name, method.self.text(), &characters));
}

bool HasAffix(const std::string& text, const std::string& affix, bool at_start) {
  return at_start ? absl::StartsWith(text, affix) : absl::EndsWith(text, affix);
}

absl::StatusOr<Value> TestAffix(const MethodValue& method, CallArguments arguments) {
  ASSIGN_OR_RETURN(const auto bound,
                   BoundArguments::Bind(method.name, {"affix"}, 1, std::move(arguments)));
  const bool at_start = method.name == "startswith";
  if (bound.Get(0)->is_list() && bound.Get(0)->list()->is_tuple) {
    for (const Value& affix : bound.Get(0)->items()) {
      if (affix.is_text() && HasAffix(method.self.text(), affix.text(), at_start)) {
        return Value(true);
      }
    }
    return Value(false);
  }
  ASSIGN_OR_RETURN(const std::string affix, bound.Text(0));
  return Value(HasAffix(method.self.text(), affix, at_start));
}

absl::StatusOr<Value> RemoveAffix(const MethodValue& method, CallArguments arguments) {
  ASSIGN_OR_RETURN(const auto bound,
                   BoundArguments::Bind(method.name, {"affix"}, 1, std::move(arguments)));
  ASSIGN_OR_RETURN(const std::string affix, bound.Text(0));
  absl::string_view text = method.self.text();
  const bool at_start = method.name == "removeprefix";
  if (HasAffix(method.self.text(), affix, at_start)) {
    at_start ? text.remove_prefix(affix.size()) : text.remove_suffix(affix.size());
  }
  return Value(text);
}

absl::StatusOr<Value> Search(const MethodValue& method, CallArguments arguments) {
  ASSIGN_OR_RETURN(const auto bound,
                   BoundArguments::Bind(method.name, {"sub"}, 1, std::move(arguments)));
  ASSIGN_OR_RETURN(const std::string needle, bound.Text(0));
  const absl::string_view text = method.self.text();
  if (method.name == "count") {
    if (needle.empty()) return Value(static_cast<int64_t>(CountCharacters(text)) + 1);
    return Value(static_cast<int64_t>(SplitText(text, needle, -1).size()) - 1);
  }
  const size_t found = method.name == "find" ? text.find(needle) : text.rfind(needle);
  if (found == absl::string_view::npos) return Value(int64_t{-1});
  return Value(static_cast<int64_t>(CountCharacters(text.substr(0, found))));
}

absl::StatusOr<Value> Replace(const MethodValue& method, CallArguments arguments, Budget& budget) {
  ASSIGN_OR_RETURN(const auto bound, BoundArguments::Bind(method.name, {"old", "new", "count"}, 2,
                                                          std::move(arguments)));
  ASSIGN_OR_RETURN(const std::string old_text, bound.Text(0));
  ASSIGN_OR_RETURN(const std::string new_text, bound.Text(1));
  ASSIGN_OR_RETURN(const int64_t count, bound.Integer(2, -1));
  const std::string& text = method.self.text();
  const size_t most = old_text.empty() ? text.size() + 1 : text.size() / old_text.size();
  RETURN_IF_ERROR(budget.SpendText(text.size() + most * new_text.size()));
  return Value(ReplaceText(text, old_text, new_text, count));
}

absl::StatusOr<Value> Join(const MethodValue& method, CallArguments arguments, Budget& budget) {
  ASSIGN_OR_RETURN(const auto bound,
                   BoundArguments::Bind(method.name, {"iterable"}, 1, std::move(arguments)));
  if (!bound.Get(0)->is_list()) return absl::InvalidArgumentError("join() takes a list");
  size_t size = 0;
  for (const Value& item : bound.Get(0)->items()) {
    if (!item.is_text()) return absl::InvalidArgumentError("join() takes texts");
    size += item.text().size() + method.self.text().size();
  }
  RETURN_IF_ERROR(budget.SpendText(size));
  std::string out;
  for (const Value& item : bound.Get(0)->items()) {
    absl::StrAppend(&out, &item == &bound.Get(0)->items()[0] ? "" : method.self.text(),
                    item.text());
  }
  return Value(std::move(out));
}

absl::StatusOr<Value> CallTextMethod(const MethodValue& method, CallArguments arguments,
                                     Budget& budget) {
  const absl::string_view name = method.name;
  RETURN_IF_ERROR(budget.SpendText(method.self.text().size()));
  if (name == "split" || name == "rsplit") return Split(method, std::move(arguments));
  if (IsIn({"strip", "lstrip", "rstrip"}, name)) return Strip(method, std::move(arguments));
  if (IsIn({"startswith", "endswith"}, name)) return TestAffix(method, std::move(arguments));
  if (IsIn({"removeprefix", "removesuffix"}, name))
    return RemoveAffix(method, std::move(arguments));
  if (IsIn({"find", "rfind", "count"}, name)) return Search(method, std::move(arguments));
  if (name == "replace") return Replace(method, std::move(arguments), budget);
  if (name == "join") return Join(method, std::move(arguments), budget);
  if (IsIn({"upper", "lower", "capitalize"}, name)) {
    RETURN_IF_ERROR(BoundArguments::Bind(name, {}, 0, std::move(arguments)).status());
    return ChangeCase(name, method.self.text());
  }
  if (name == "splitlines") {
    ASSIGN_OR_RETURN(const auto bound,
                     BoundArguments::Bind(name, {"keepends"}, 0, std::move(arguments)));
    return ListOfTexts(SplitLines(method.self.text(), bound.Truth(0)));
  }
  return NotSupported(method);
}

absl::StatusOr<Value> CallDictMethod(const MethodValue& method, CallArguments arguments,
                                     Budget& budget) {
  const DictValue& dict = method.self.dict();
  RETURN_IF_ERROR(budget.Spend(dict.entries.size()));
  if (method.name == "get") {
    ASSIGN_OR_RETURN(const auto bound, BoundArguments::Bind(method.name, {"key", "default"}, 1,
                                                            std::move(arguments)));
    const Value& key = *bound.Get(0);
    const Value* const found = key.is_text() ? FindEntry(dict.entries, key.text()) : nullptr;
    if (found != nullptr) return *found;
    return bound.Get(1) == nullptr ? Value() : *bound.Get(1);
  }
  RETURN_IF_ERROR(BoundArguments::Bind(method.name, {}, 0, std::move(arguments)).status());
  if (method.name == "copy") return method.self;
  if (!IsIn({"items", "keys", "values"}, method.name)) return NotSupported(method);
  std::vector<Value> items;
  for (const auto& [key, value] : dict.entries) {
    if (method.name == "items") {
      items.push_back(Value::Tuple({Value(key), value}));
    } else {
      items.push_back(method.name == "keys" ? Value(key) : value);
    }
  }
  return Value::ListOf(std::move(items));
}

}  // namespace

bool HasMethod(const Value& value, absl::string_view name) {
  if (value.is_dict()) {
    return IsIn({"items", "keys", "values", "get", "copy", "pop", "popitem", "update", "clear",
                 "setdefault", "fromkeys"},
                name);
  }
  if (value.is_list()) {
    const bool common = name == "index" || name == "count";
    return common || (!value.list()->is_tuple && IsIn({"append", "extend", "insert", "remove",
                                                       "pop", "clear", "sort", "reverse", "copy"},
                                                      name));
  }
  if (value.get_if<Value::Loop>() != nullptr) return name == "cycle" || name == "changed";
  return value.is_text() &&
         IsIn({"split",      "rsplit",       "strip",        "lstrip",       "rstrip",
               "startswith", "endswith",     "removeprefix", "removesuffix", "find",
               "rfind",      "count",        "replace",      "join",         "upper",
               "lower",      "capitalize",   "splitlines",   "title",        "format",
               "index",      "rindex",       "isdigit",      "isalpha",      "isalnum",
               "isspace",    "isupper",      "islower",      "zfill",        "center",
               "ljust",      "rjust",        "partition",    "rpartition",   "swapcase",
               "casefold",   "encode",       "expandtabs",   "format_map",   "isascii",
               "isdecimal",  "isidentifier", "isnumeric",    "isprintable",  "istitle",
               "maketrans",  "translate"},
              name);
}

absl::StatusOr<Value> CallMethod(const MethodValue& method, CallArguments arguments,
                                 Budget& budget) {
  if (method.self.is_text()) return CallTextMethod(method, std::move(arguments), budget);
  if (method.self.is_dict()) return CallDictMethod(method, std::move(arguments), budget);
  if (const auto* loop = method.self.get_if<Value::Loop>();
      loop != nullptr && method.name == "cycle" && !arguments.values.empty()) {
    return arguments.values[(*loop)->index0 % arguments.values.size()];
  }
  return NotSupported(method);
}

absl::StatusOr<Value> ChangeCase(absl::string_view name, absl::string_view text) {
  std::string out(text);
  for (size_t i = 0; i < out.size(); ++i) {
    const auto byte = static_cast<unsigned char>(out[i]);
    if (byte >= 0x80) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, " of a text beyond ASCII is not supported"));
    }
    const bool upper = name == "upper" || (name == "capitalize" && i == 0);
    out[i] = upper ? absl::ascii_toupper(byte) : absl::ascii_tolower(byte);
  }
  return Value(std::move(out));
}

absl::string_view StripNamed(absl::string_view name, absl::string_view text,
                             const std::string* characters) {
  if (name != "rstrip") {
    text = characters == nullptr ? StripLeft(text) : StripLeft(text, *characters);
  }
  if (name != "lstrip") {
    text = characters == nullptr ? StripRight(text) : StripRight(text, *characters);
  }
  return text;
}

}  // namespace baton
