#include "tools/flags/flag_table.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

#include "common/config/nearest_name.h"

namespace baton {
namespace {

const FlagRow* Find(const std::vector<FlagRow>& table, absl::string_view name) {
  const auto found = std::find_if(table.begin(), table.end(),
                                  [name](const FlagRow& row) { return row.name == name; });
  return found == table.end() ? nullptr : &*found;
}

absl::Status Unknown(const std::vector<FlagRow>& table, absl::string_view name) {
  std::vector<std::string> names;
  for (const FlagRow& row : table) names.emplace_back(row.name);
  const std::string nearest = NearestName(name, names);
  return absl::InvalidArgumentError(
      absl::StrCat("unknown flag --", name,
                   nearest.empty() ? "" : absl::StrCat("; did you mean --", nearest, "?")));
}

absl::Status BadValue(absl::string_view name, absl::string_view value, absl::string_view wanted) {
  return absl::InvalidArgumentError(
      absl::StrCat("--", name, " is \"", value, "\"; wanted ", wanted));
}

}  // namespace

absl::StatusOr<GivenFlags> ParseFlags(const std::vector<std::string>& words,
                                      const std::vector<FlagRow>& table) {
  std::map<std::string, std::vector<std::string>> values;
  std::vector<std::string> positional;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string word = words[i] == "-h" ? "--help" : words[i];
    if (!absl::StartsWith(word, "--")) {
      positional.push_back(word);
      continue;
    }
    const size_t equals = word.find('=');
    const bool has_value = equals != std::string::npos;
    std::string name =
        absl::StrReplaceAll(word.substr(2, has_value ? equals - 2 : word.npos), {{"_", "-"}});
    const FlagRow* row = Find(table, name);
    const bool negated = row == nullptr && absl::StartsWith(name, "no-");
    if (negated) row = Find(table, name.erase(0, 3));
    if (row == nullptr || (negated && row->kind != FlagKind::kSwitch)) {
      return Unknown(table, negated ? "no-" + name : name);
    }
    std::vector<std::string>& given = values[name];
    if (row->kind == FlagKind::kSwitch) {
      given = {has_value ? word.substr(equals + 1) : negated ? "false" : "true"};
      continue;
    }
    if (row->kind == FlagKind::kValue) given.clear();
    const size_t before = given.size();
    if (has_value) given.push_back(word.substr(equals + 1));
    while (!has_value && i + 1 < words.size() && !absl::StartsWith(words[i + 1], "--")) {
      given.push_back(words[++i]);
      if (row->kind == FlagKind::kValue) break;
    }
    if (given.size() == before) {
      return absl::InvalidArgumentError(absl::StrCat("--", name, " wants a value"));
    }
  }
  return GivenFlags(std::move(values), std::move(positional));
}

const std::string* GivenFlags::Last(absl::string_view name) const {
  const auto found = values_.find(std::string(name));
  return found == values_.end() ? nullptr : &found->second.back();
}

absl::Status GivenFlags::Read(absl::string_view name, bool* value) const {
  const std::string* text = Last(name);
  if (text == nullptr || absl::SimpleAtob(*text, value)) return absl::OkStatus();
  return BadValue(name, *text, "true or false");
}

absl::Status GivenFlags::Read(absl::string_view name, std::string* value) const {
  if (const std::string* text = Last(name); text != nullptr) *value = *text;
  return absl::OkStatus();
}

absl::Status GivenFlags::Read(absl::string_view name, std::vector<std::string>* value) const {
  const auto found = values_.find(std::string(name));
  if (found != values_.end()) *value = found->second;
  return absl::OkStatus();
}

absl::Status GivenFlags::Read(absl::string_view name, double least, double most,
                              double* value) const {
  const std::string* text = Last(name);
  if (text == nullptr) return absl::OkStatus();
  double number = 0;
  if (absl::SimpleAtod(*text, &number) && number >= least && number <= most) {
    *value = number;
    return absl::OkStatus();
  }
  return BadValue(name, *text, absl::StrCat("a number from ", least, " to ", most));
}

absl::Status GivenFlags::Read(absl::string_view name, int64_t least, int64_t most,
                              int64_t* value) const {
  const std::string* text = Last(name);
  if (text == nullptr) return absl::OkStatus();
  int64_t number = 0;
  if (absl::SimpleAtoi(*text, &number) && number >= least && number <= most) {
    *value = number;
    return absl::OkStatus();
  }
  return BadValue(name, *text, absl::StrCat("a whole number from ", least, " to ", most));
}

std::string FlagHelp(const std::vector<FlagRow>& table) {
  std::string text;
  for (const FlagRow& row : table) {
    absl::StrAppend(&text, "  --", row.name);
    if (row.kind == FlagKind::kList) absl::StrAppend(&text, " ...");
    if (!row.default_text.empty()) absl::StrAppend(&text, " (default: ", row.default_text, ")");
    absl::StrAppend(&text, "    ", row.help, "\n");
  }
  return text;
}

}  // namespace baton
