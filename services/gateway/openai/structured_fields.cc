#include "services/gateway/openai/structured_fields.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "services/gateway/openai/request_fields.h"

namespace baton::gateway {
namespace {

using structured::Constraint;
using structured::ConstraintKind;

class StructuredReader {
 public:
  StructuredReader(FieldReader& reader, RequestedParams* params)
      : reader_(reader), params_(*params) {}

  void Read() {
    ReadResponseFormat();
    ReadStructuredOutputs();
    ReadGuided();
  }

 private:
  void Set(absl::string_view field, Constraint constraint) {
    if (params_.constraint) {
      return reader_.Fail(
          field, absl::StrCat("cannot be given together with ", params_.constraint->field));
    }
    params_.constraint = RequestedConstraint{std::string(field), std::move(constraint)};
  }

  void SetSchema(absl::string_view field, const Json& schema) {
    if (!schema.is_object() && !schema.is_string()) {
      return reader_.Fail(field,
                          absl::StrCat("must be a JSON schema, as an object or a string, not ",
                                       DescribeJsonType(schema)));
    }
    Set(field, {.kind = ConstraintKind::kJsonSchema,
                .text = schema.is_string() ? schema.get<std::string>() : schema.dump()});
  }

  void SetText(absl::string_view field, ConstraintKind kind, const Json& text) {
    if (!text.is_string() || text.get_ref<const std::string&>().empty()) {
      return reader_.Fail(field, "must be a string that is not empty");
    }
    if (text.get_ref<const std::string&>().find('\0') != std::string::npos) {
      return reader_.Fail(field, "must not hold NUL");
    }
    Set(field, {.kind = kind, .text = text.get<std::string>()});
  }

  void SetChoice(absl::string_view field, const Json& choices) {
    Constraint constraint{.kind = ConstraintKind::kChoice};
    bool strings = choices.is_array() && !choices.empty();
    for (size_t i = 0; strings && i < choices.size(); ++i) {
      strings = choices[i].is_string();
      if (strings) constraint.choices.push_back(choices[i].get<std::string>());
    }
    if (!strings) return reader_.Fail(field, "must be a list of strings that is not empty");
    Set(field, std::move(constraint));
  }

  void ReadResponseFormat() {
    static constexpr char kField[] = "response_format";
    const Json* format = reader_.FindSet(kField);
    if (format == nullptr) return;
    if (!format->is_object() || !format->contains("type")) {
      return reader_.Fail(kField, "must be an object with a type");
    }
    const Json& type = (*format)["type"];
    if (type == "text") return;
    if (type == "json_object") return Set(kField, {.kind = ConstraintKind::kJsonObject});
    if (type != "json_schema") {
      return reader_.Fail(kField, "has a type other than text, json_object and json_schema");
    }
    const Json::const_iterator wrapper = format->find("json_schema");
    if (wrapper == format->end() || !wrapper->is_object() || !wrapper->contains("schema")) {
      return reader_.Fail(kField, "must hold the schema in json_schema.schema");
    }
    SetSchema(kField, (*wrapper)["schema"]);
  }

  void ReadStructuredOutputs() {
    static constexpr char kField[] = "structured_outputs";
    const Json* outputs = reader_.FindSet(kField);
    if (outputs == nullptr) return;
    if (!outputs->is_object()) {
      return reader_.Fail(kField,
                          absl::StrCat("must be an object, not ", DescribeJsonType(*outputs)));
    }
    FieldReader inner(*outputs);
    const auto name = [](const char* key) { return absl::StrCat(kField, ".", key); };
    if (const Json* schema = inner.FindSet("json")) SetSchema(name("json"), *schema);
    if (const Json* regex = inner.FindSet("regex")) {
      SetText(name("regex"), ConstraintKind::kRegex, *regex);
    }
    if (const Json* choice = inner.FindSet("choice")) SetChoice(name("choice"), *choice);
    if (const Json* grammar = inner.FindSet("grammar")) {
      SetText(name("grammar"), ConstraintKind::kGrammar, *grammar);
    }
    bool json_object = false;
    inner.Read("json_object", &json_object);
    if (json_object) Set(name("json_object"), {.kind = ConstraintKind::kJsonObject});
    if (inner.FindSet("structural_tag") != nullptr) {
      reader_.Fail(name("structural_tag"),
                   "is not supported by this server: use tools, or structured_outputs.grammar");
    }
    JsonStyleFields style;
    inner.Read("disable_any_whitespace", &style.compact);
    inner.Read("disable_additional_properties", &style.closed);
    if (inner.FindSet("whitespace_pattern") != nullptr) {
      inner.Read("whitespace_pattern", &style.whitespace.emplace());
    }
    LogUnknownFields(inner, kField);
    if (!inner.status().ok())
      reader_.Fail(kField, absl::StrCat("is wrong: ", inner.status().message()));
    if (!params_.constraint) {
      return reader_.Fail(kField, "must hold one of json, regex, choice, grammar and json_object");
    }
    SetStyle(style, name(""));
  }

  struct JsonStyleFields {
    bool compact = false;
    bool closed = false;
    std::optional<std::string> whitespace;
  };

  // How JSON is written has no meaning for other texts. `prefix`: of the fields' names.
  void SetStyle(const JsonStyleFields& style, const std::string& prefix) {
    const bool schema =
        params_.constraint && params_.constraint->constraint.kind == ConstraintKind::kJsonSchema;
    const bool json = schema || (params_.constraint && params_.constraint->constraint.kind ==
                                                           ConstraintKind::kJsonObject);
    if (style.closed && !schema) {
      return reader_.Fail(prefix + "disable_additional_properties", "needs a JSON schema");
    }
    if (style.compact && !json) {
      return reader_.Fail(prefix + "disable_any_whitespace", "needs a JSON schema or json_object");
    }
    if (style.whitespace && !json) {
      return reader_.Fail(prefix + "whitespace_pattern", "needs a JSON schema or json_object");
    }
    if (!json) return;
    Constraint& constraint = params_.constraint->constraint;
    if (style.whitespace && (style.compact || constraint.compact)) {
      return reader_.Fail(prefix + "whitespace_pattern",
                          "cannot be given together with disable_any_whitespace");
    }
    if (style.whitespace && constraint.whitespace_pattern) {
      return reader_.Fail(prefix + "whitespace_pattern",
                          "cannot be given together with structured_outputs.whitespace_pattern");
    }
    // `closed` is how it is: an object has other properties only if its schema says so, or names
    // none.
    if (style.compact) constraint.compact = true;
    if (style.whitespace) constraint.whitespace_pattern = style.whitespace;
  }

  // vLLM's names of old.
  void ReadGuided() {
    if (const Json* schema = reader_.FindSet("guided_json")) SetSchema("guided_json", *schema);
    if (const Json* regex = reader_.FindSet("guided_regex")) {
      SetText("guided_regex", ConstraintKind::kRegex, *regex);
    }
    if (const Json* choice = reader_.FindSet("guided_choice")) SetChoice("guided_choice", *choice);
    if (const Json* grammar = reader_.FindSet("guided_grammar")) {
      SetText("guided_grammar", ConstraintKind::kGrammar, *grammar);
    }
    bool json_object = false;
    reader_.Read("guided_json_object", &json_object);
    if (json_object) Set("guided_json_object", {.kind = ConstraintKind::kJsonObject});
    std::string backend;
    reader_.Read("guided_decoding_backend", &backend);
    if (reader_.FindSet("guided_whitespace_pattern") == nullptr) return;
    JsonStyleFields style;
    reader_.Read("guided_whitespace_pattern", &style.whitespace.emplace());
    SetStyle(style, "guided_");
  }

  FieldReader& reader_;
  RequestedParams& params_;
};

}  // namespace

void ReadStructuredFields(FieldReader& reader, RequestedParams* params) {
  StructuredReader(reader, params).Read();
}

}  // namespace baton::gateway
