#include "services/gateway/openai/completion_request.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "services/gateway/admission/refusal.h"
#include "services/gateway/json/field_reader.h"
#include "services/gateway/json/strict_json.h"

namespace baton::gateway {
namespace {

constexpr int64_t kDefaultMaxTokens = 16;

absl::Status WrongPrompt(const Json& value) {
  return InvalidField("prompt", absl::StrCat("must be a string, a list of strings, a list of token "
                                             "ids or a list of such lists; found ",
                                             DescribeJsonType(value)));
}

absl::StatusOr<std::vector<int64_t>> ReadTokenIds(const Json& list) {
  std::vector<int64_t> ids;
  ids.reserve(list.size());
  for (const Json& item : list) {
    const std::optional<int64_t> id = JsonInteger(item);
    if (!id) return WrongPrompt(item);
    ids.push_back(*id);
  }
  return ids;
}

absl::StatusOr<CompletionPrompt> ReadOnePrompt(const Json& value) {
  if (value.is_string()) {
    if (value.get_ref<const std::string&>().empty()) {
      return InvalidField("prompt", "must not be empty");
    }
    return CompletionPrompt(value.get<std::string>());
  }
  if (!value.is_array()) return WrongPrompt(value);
  ASSIGN_OR_RETURN(std::vector<int64_t> ids, ReadTokenIds(value));
  return CompletionPrompt(std::move(ids));
}

absl::Status ReadPrompts(FieldReader& reader, const RequestValidator& validator,
                         std::vector<CompletionPrompt>* prompts) {
  const Json* value = reader.FindSet("prompt");
  if (value == nullptr) return InvalidField("prompt", "is required");
  const bool is_list = value->is_array() && !value->empty() && !value->front().is_number();
  if (!is_list) {
    if (value->is_array() && value->empty()) return InvalidField("prompt", "must not be empty");
    ASSIGN_OR_RETURN(CompletionPrompt prompt, ReadOnePrompt(*value));
    prompts->push_back(std::move(prompt));
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(validator.CheckPromptCount(value->size()));
  for (const Json& item : *value) {
    ASSIGN_OR_RETURN(CompletionPrompt prompt, ReadOnePrompt(item));
    prompts->push_back(std::move(prompt));
  }
  return absl::OkStatus();
}

void ReadMaxTokens(FieldReader& reader, CompletionRequest* request) {
  request->params.max_tokens = kDefaultMaxTokens;
  reader.Read("max_tokens", &request->params.max_tokens);
  if (request->params.max_tokens != 0) return;
  if (!request->echo) return reader.Fail("max_tokens", "may be 0 only with echo=true");
  request->echo_only = true;
  request->params.max_tokens = 1;  // the scheduler always makes one; it is not shown
}

void ReadLogprobs(FieldReader& reader, CompletionRequest* request) {
  RequestedParams& params = request->params;
  params.num_top_logprobs_field = "logprobs";
  if (const Json* value = reader.FindSet("logprobs"); value != nullptr && value->is_boolean()) {
    // Some clients send false for "none".
    if (value->get<bool>()) reader.Fail("logprobs", "must be an integer, not a boolean");
  } else {
    reader.Read("logprobs", &params.num_top_logprobs);
  }
  if (request->echo && params.num_top_logprobs && !params.num_prompt_logprobs) {
    params.num_prompt_logprobs = params.num_top_logprobs;
  }
}

}  // namespace

absl::StatusOr<CompletionRequest> ParseCompletionRequest(absl::string_view body,
                                                         const RequestValidator& validator) {
  ASSIGN_OR_RETURN(const Json json, ParseBody(body, validator.caps()));
  FieldReader reader(json);
  CompletionRequest request;
  reader.Read("model", &request.model);
  RETURN_IF_ERROR(ReadPrompts(reader, validator, &request.prompts));
  ReadSamplingFields(reader, &request.params);
  request.stream = ReadStreamFields(reader, validator.caps());
  if (request.stream.stream && request.params.num_prompt_logprobs) {
    reader.Fail("prompt_logprobs", "cannot be given with stream=true");
  }
  reader.Read("echo", &request.echo);
  ReadMaxTokens(reader, &request);
  ReadLogprobs(reader, &request);
  request.output = ReadOutputFields(reader);
  reader.Read("add_special_tokens", &request.add_special_tokens);
  request.request_id = ReadRequestId(reader, validator.caps());
  RefuseUnsupportedFields(reader, FieldApi::kCompletion, validator.caps());
  RETURN_IF_ERROR(reader.status());
  LogIgnoredFields(reader, "completion");
  return request;
}

}  // namespace baton::gateway
