#include "services/gateway/json/strict_json.h"

#include <cstdint>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "common/utf8/utf8.h"

namespace baton::gateway {
namespace {

// Builds the value from parse events and stops at the first broken rule.
class StrictBuilder final : public nlohmann::json_sax<Json> {
 public:
  explicit StrictBuilder(const JsonLimits& limits) : limits_(limits) {}

  bool null() override { return Add(nullptr); }
  bool boolean(bool value) override { return Add(value); }
  bool number_integer(number_integer_t value) override { return Add(value); }
  bool number_unsigned(number_unsigned_t value) override { return Add(value); }
  bool number_float(number_float_t value, const string_t&) override { return Add(value); }
  bool string(string_t& value) override { return Add(std::move(value)); }
  bool binary(binary_t&) override { return Fail("binary value"); }

  bool start_object(size_t) override { return Open(Json::object()); }
  bool end_object() override { return CloseInnermost(); }
  bool start_array(size_t) override { return Open(Json::array()); }
  bool end_array() override { return CloseInnermost(); }

  bool key(string_t& name) override {
    Container& object = open_.back();
    if (!object.keys.insert(name).second) return Fail(absl::StrCat("duplicate key \"", name, "\""));
    if (object.keys.size() > limits_.keys_per_object) {
      return Fail(absl::StrCat("an object has more than ", limits_.keys_per_object, " keys",
                               FlagOf(&RequestCaps::json_keys)));
    }
    object.next_key = std::move(name);
    return true;
  }

  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    // The library's message begins with its own error id in brackets.
    std::string message = error.what();
    const size_t bracket = message.find("] ");
    if (bracket != std::string::npos) message.erase(0, bracket + 2);
    // It quotes what was read, valid or not.
    error_ = absl::StrCat("byte ", position, ": ", ToValidUtf8(message));
    return false;
  }

  absl::StatusOr<Json> Take(bool parsed) {
    if (!parsed) return absl::InvalidArgumentError(absl::StrCat("invalid JSON: ", error_));
    return std::move(root_);
  }

 private:
  struct Container {
    Json* value;
    std::unordered_set<std::string> keys;
    std::string next_key;
  };

  bool Fail(std::string why) {
    error_ = std::move(why);
    return false;
  }

  // Where the next value goes; the addresses of containers stay valid because only the innermost
  // one grows.
  Json* Place(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Container& parent = open_.back();
    if (parent.value->is_array()) {
      parent.value->push_back(std::move(value));
      return &parent.value->back();
    }
    // ordered_json looks for the key in linear time before it inserts; it is known to be new.
    auto* object = parent.value->get_ptr<Json::object_t*>();
    object->Json::object_t::Container::emplace_back(std::move(parent.next_key), std::move(value));
    return &object->Json::object_t::Container::back().second;
  }

  bool CountValue() {
    if (++num_values_ <= limits_.values) return true;
    return Fail(
        absl::StrCat("more than ", limits_.values, " values", FlagOf(&RequestCaps::json_values)));
  }

  std::string FlagOf(int64_t RequestCaps::*cap) const {
    return limits_.of_body ? absl::StrCat(" (", CapFlag(cap), ")") : "";
  }

  template <typename T>
  bool Add(T&& value) {
    if (!CountValue()) return false;
    Place(Json(std::forward<T>(value)));
    return true;
  }

  bool Open(Json value) {
    if (!CountValue()) return false;
    if (open_.size() >= limits_.depth) {
      return Fail(absl::StrCat("more than ", limits_.depth, " nested arrays and objects",
                               FlagOf(&RequestCaps::json_depth)));
    }
    open_.push_back({Place(std::move(value)), {}, {}});
    return true;
  }

  bool CloseInnermost() {
    open_.pop_back();
    return true;
  }

  const JsonLimits limits_;
  Json root_;
  std::vector<Container> open_;
  size_t num_values_ = 0;
  std::string error_;
};

}  // namespace

absl::StatusOr<Json> ParseStrictJson(absl::string_view text, const JsonLimits& limits) {
  StrictBuilder builder(limits);
  const bool parsed = Json::sax_parse(text.begin(), text.end(), &builder);
  return builder.Take(parsed);
}

absl::StatusOr<Json> ParseJsonObject(absl::string_view text, const JsonLimits& limits) {
  auto json = ParseStrictJson(text, limits);
  if (json.ok() && !json->is_object()) {
    return absl::InvalidArgumentError("the request body must be an object");
  }
  return json;
}

absl::StatusOr<Json> ParseBody(absl::string_view text, const RequestCaps& caps) {
  return ParseJsonObject(text, {.depth = static_cast<size_t>(caps.json_depth),
                                .keys_per_object = static_cast<size_t>(caps.json_keys),
                                .values = static_cast<size_t>(caps.json_values),
                                .of_body = true});
}

std::string DumpJson(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void AppendJsonString(absl::string_view text, std::string* out) {
  constexpr char kHex[] = "0123456789abcdef";
  out->push_back('"');
  size_t begin = 0;  // of what stands for itself
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte >= 0x20 && byte != '"' && byte != '\\') continue;
    out->append(text.data() + begin, i - begin);
    begin = i + 1;
    switch (text[i]) {
      case '"':
        out->append("\\\"");
        break;
      case '\\':
        out->append("\\\\");
        break;
      case '\n':
        out->append("\\n");
        break;
      case '\r':
        out->append("\\r");
        break;
      case '\t':
        out->append("\\t");
        break;
      default:
        out->append("\\u00");
        out->push_back(kHex[byte >> 4]);
        out->push_back(kHex[byte & 15]);
    }
  }
  out->append(text.data() + begin, text.size() - begin);
  out->push_back('"');
}

}  // namespace baton::gateway
