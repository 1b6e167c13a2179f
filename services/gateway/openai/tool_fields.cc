#include "services/gateway/openai/tool_fields.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

#include "services/gateway/admission/refusal.h"

namespace baton::gateway {
namespace {

constexpr size_t kMaxNameBytes = 128;

// Names that a call can be written with, whatever the syntax.
bool IsFunctionName(const Json& name) {
  if (!name.is_string()) return false;
  const std::string& text = name.get_ref<const std::string&>();
  return !text.empty() && text.size() <= kMaxNameBytes &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' ||
                  c == '.';
         });
}

void CheckTool(const std::string& field, const Json& tool, FieldReader& reader) {
  if (!tool.is_object()) {
    return reader.Fail(field, absl::StrCat("must be an object, not ", DescribeJsonType(tool)));
  }
  if (!tool.contains("type") || tool["type"] != "function") {
    return reader.Fail(field + ".type", "must be \"function\"");
  }
  if (!tool.contains("function") || !tool["function"].is_object()) {
    return reader.Fail(field + ".function", "must be an object");
  }
  const Json& function = tool["function"];
  if (!function.contains("name") || !IsFunctionName(function["name"])) {
    return reader.Fail(field + ".function.name",
                       absl::StrCat("must be 1 to ", kMaxNameBytes,
                                    " letters, digits, underscores, dashes or dots"));
  }
  FieldReader inner(function);
  std::string description;
  inner.Read("description", &description);
  if (!inner.status().ok()) reader.Fail(field + ".function.description", "must be a string");
  const Json* strict = inner.FindSet("strict");
  if (strict != nullptr && !strict->is_boolean()) {
    reader.Fail(field + ".function.strict",
                absl::StrCat("must be true or false, not ", DescribeJsonType(*strict)));
  }
  const Json* parameters = inner.FindSet("parameters");
  if (parameters != nullptr && !parameters->is_object()) {
    reader.Fail(field + ".function.parameters",
                absl::StrCat("must be a JSON schema, not ", DescribeJsonType(*parameters)));
  }
}

void ReadTools(FieldReader& reader, const RequestCaps& caps, ToolFields* fields) {
  const Json* tools = reader.FindSet("tools");
  if (tools == nullptr) return;
  if (!tools->is_array()) {
    return reader.Fail("tools", absl::StrCat("must be a list, not ", DescribeJsonType(*tools)));
  }
  if (tools->empty()) return reader.Fail("tools", "must not be empty; leave it out instead");
  if (tools->size() > static_cast<size_t>(caps.tools)) {
    return reader.Fail("tools",
                       absl::StrCat("holds ", tools->size(), " tools, at most ", caps.tools, " (",
                                    CapFlag(&RequestCaps::tools), ") are allowed"));
  }
  std::set<std::string> names;
  for (size_t i = 0; i < tools->size(); ++i) {
    const std::string field = absl::StrCat("tools[", i, "]");
    CheckTool(field, (*tools)[i], reader);
    if (!reader.status().ok()) return;
    if (!names.insert((*tools)[i]["function"]["name"].get<std::string>()).second) {
      return reader.Fail(field + ".function.name", "is that of an earlier tool, too");
    }
  }
  fields->tools = *tools;
}

void ReadNamedChoice(const Json& choice, FieldReader& reader, ToolFields* fields) {
  const bool named = choice.is_object() && choice.contains("function") &&
                     choice["function"].is_object() && choice["function"].contains("name") &&
                     choice["function"]["name"].is_string();
  if (!named) {
    return reader.Fail("tool_choice",
                       "must be \"none\", \"auto\", \"required\" or {\"type\": \"function\", "
                       "\"function\": {\"name\": ...}}");
  }
  fields->choice = ToolChoice::kNamed;
  fields->function = choice["function"]["name"].get<std::string>();
  if (!reader.status().ok()) return;
  for (const Json& tool : fields->tools) {
    if (tool["function"]["name"] == fields->function) return;
  }
  reader.Fail("tool_choice", absl::StrCat("names \"", fields->function.substr(0, kMaxNameBytes),
                                          "\", which is none of the tools"));
}

void ReadChoice(FieldReader& reader, ToolFields* fields) {
  fields->choice = fields->tools.is_null() ? ToolChoice::kNone : ToolChoice::kAuto;
  const Json* choice = reader.FindSet("tool_choice");
  if (choice == nullptr) return;
  if (*choice == "none") {
    fields->choice = ToolChoice::kNone;
  } else if (*choice == "auto") {
    // Without tools it is what happens anyway.
  } else if (reader.FindSet("tools") == nullptr) {
    reader.Fail("tool_choice", "can only be given with tools");
  } else if (*choice == "required") {
    fields->choice = ToolChoice::kRequired;
  } else {
    ReadNamedChoice(*choice, reader, fields);
  }
}

}  // namespace

ToolFields ReadToolFields(FieldReader& reader, const RequestCaps& caps) {
  ToolFields fields;
  ReadTools(reader, caps, &fields);
  ReadChoice(reader, &fields);
  std::optional<bool> parallel;
  reader.Read("parallel_tool_calls", &parallel);
  fields.parallel = parallel.value_or(true);
  return fields;
}

absl::Status CheckToolFields(const ServedModel& model, const ToolFields& fields) {
  switch (fields.choice) {
    case ToolChoice::kNone:
      return absl::OkStatus();
    case ToolChoice::kAuto:
      if (!model.auto_tool_choice) {
        return InvalidField("tool_choice",
                            "\"auto\" needs a server with --enable-auto-tool-choice");
      }
      break;
    case ToolChoice::kRequired:
    case ToolChoice::kNamed:
      break;
  }
  if (model.tool_calls != ToolCallFormat::kNone) return absl::OkStatus();
  return InvalidField("tools",
                      "cannot be used: the server does not know how this model writes calls; serve "
                      "with --tool-call-parser NAME");
}

absl::Status NormaliseToolCalls(const std::string& field, Json& calls) {
  for (size_t i = 0; i < calls.size(); ++i) {
    const std::string name = absl::StrCat(field, ".tool_calls[", i, "]");
    Json& call = calls[i];
    if (!call.is_object() || !call.contains("function") || !call["function"].is_object()) {
      return InvalidField(name, "must be an object with a function");
    }
    if (!call.contains("type") || call["type"].is_null()) call["type"] = "function";
    if (call["type"] != "function") return InvalidField(name + ".type", "must be \"function\"");
    Json& function = call["function"];
    if (!function.contains("name") || !IsFunctionName(function["name"])) {
      return InvalidField(name + ".function.name", "must be the name of a function");
    }
    Json& arguments = function["arguments"];
    if (arguments.is_null()) arguments = "{}";
    if (arguments.is_object()) arguments = DumpJson(arguments);
    if (!arguments.is_string()) {
      return InvalidField(name + ".function.arguments", "must be a string of JSON");
    }
  }
  return absl::OkStatus();
}

}  // namespace baton::gateway
