#include "common/chat_template/value_text.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "common/chat_template/python_text.h"
#include "common/status/status_macros.h"

namespace baton {
namespace {

absl::Status AppendRepr(const Value& value, std::string* out);

absl::Status AppendListRepr(const Value& value, std::string* out) {
  const bool is_tuple = value.list()->is_tuple;
  out->push_back(is_tuple ? '(' : '[');
  for (size_t i = 0; i < value.items().size(); ++i) {
    if (i > 0) *out += ", ";
    RETURN_IF_ERROR(AppendRepr(value.items()[i], out));
  }
  if (is_tuple && value.items().size() == 1) out->push_back(',');
  out->push_back(is_tuple ? ')' : ']');
  return absl::OkStatus();
}

absl::Status AppendRepr(const Value& value, std::string* out) {
  if (value.is_text()) {
    *out += QuotedText(value.text());
  } else if (value.is_list()) {
    return AppendListRepr(value, out);
  } else if (value.is_dict()) {
    out->push_back('{');
    const char* separator = "";
    for (const auto& [key, item] : value.dict().entries) {
      absl::StrAppend(out, std::exchange(separator, ", "), QuotedText(key), ": ");
      RETURN_IF_ERROR(AppendRepr(item, out));
    }
    out->push_back('}');
  } else if (value.is_undefined()) {
    *out += "Undefined";
  } else {
    ASSIGN_OR_RETURN(const std::string text, TextOf(value));
    *out += text;
  }
  return absl::OkStatus();
}

class JsonWriter {
 public:
  explicit JsonWriter(const JsonStyle& style) : style_(style) {
    // json.dumps leaves no blank before a line break.
    item_separator_ = style.item_separator.value_or(style.indent.has_value() ? "," : ", ");
  }

  absl::Status Write(const Value& value) {
    if (value.is_dict()) return WriteDict(value.dict());
    if (value.is_list()) return WriteList(value.items());
    if (value.is_text()) {
      out_ += JsonText(value.text(), style_.ensure_ascii);
    } else if (value.is_none()) {
      out_ += "null";
    } else if (value.is_bool()) {
      out_ += value.truth() ? "true" : "false";
    } else if (value.is_int()) {
      absl::StrAppend(&out_, value.integer());
    } else if (value.is_float()) {
      const double number = value.number();
      out_ += std::isnan(number)   ? "NaN"
              : std::isinf(number) ? (number > 0 ? "Infinity" : "-Infinity")
                                   : FloatText(number);
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat("Object of type ", value.type_name(), " is not JSON serializable"));
    }
    return absl::OkStatus();
  }

  std::string Take() { return std::move(out_); }

 private:
  void NewLine() {
    if (!style_.indent.has_value()) return;
    out_.push_back('\n');
    for (size_t i = 0; i < level_; ++i) out_ += *style_.indent;
  }

  void Open(char bracket) {
    out_.push_back(bracket);
    ++level_;
    NewLine();
  }

  void Close(char bracket) {
    --level_;
    NewLine();
    out_.push_back(bracket);
  }

  void Separate() {
    out_ += item_separator_;
    NewLine();
  }

  absl::Status WriteList(const std::vector<Value>& items) {
    if (items.empty()) {
      out_ += "[]";
      return absl::OkStatus();
    }
    Open('[');
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) Separate();
      RETURN_IF_ERROR(Write(items[i]));
    }
    Close(']');
    return absl::OkStatus();
  }

  absl::Status WriteDict(const DictValue& dict) {
    if (dict.entries.empty()) {
      out_ += "{}";
      return absl::OkStatus();
    }
    std::vector<const std::pair<std::string, Value>*> entries;
    for (const auto& entry : dict.entries) entries.push_back(&entry);
    if (style_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(),
                       [](const auto* a, const auto* b) { return a->first < b->first; });
    }
    Open('{');
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) Separate();
      absl::StrAppend(&out_, JsonText(entries[i]->first, style_.ensure_ascii),
                      style_.key_separator);
      RETURN_IF_ERROR(Write(entries[i]->second));
    }
    Close('}');
    return absl::OkStatus();
  }

  const JsonStyle& style_;
  std::string item_separator_;
  std::string out_;
  size_t level_ = 0;
};

}  // namespace

absl::StatusOr<std::string> TextOf(const Value& value) {
  if (value.is_text()) return value.text();
  if (value.is_undefined()) return "";
  if (value.is_none()) return "None";
  if (value.is_bool()) return value.truth() ? "True" : "False";
  if (value.is_int()) return absl::StrCat(value.integer());
  if (value.is_float()) return FloatText(value.number());
  if (!value.is_list() && !value.is_dict()) {
    return absl::InvalidArgumentError(absl::StrCat("a ", value.type_name(), " has no text"));
  }
  std::string text;
  RETURN_IF_ERROR(AppendRepr(value, &text));
  return text;
}

absl::StatusOr<std::string> JsonOf(const Value& value, const JsonStyle& style) {
  JsonWriter writer(style);
  RETURN_IF_ERROR(writer.Write(value));
  return writer.Take();
}

}  // namespace baton
