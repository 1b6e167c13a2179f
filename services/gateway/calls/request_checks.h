// Small checks and facts that several calls share.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

#include "services/gateway/http/http_message.h"
#include "services/gateway/model/served_model.h"
#include "services/gateway/openai/answer_format.h"

namespace baton::gateway {

// InvalidArgument (reason "unsupported_content_type") if a Content-Type is given and is not JSON.
absl::Status CheckJsonContentType(const HttpRequest& request);

// NotFound (reason "model_not_found") naming the model and those that are served.
absl::Status CheckModelName(const ServedModel& model, absl::string_view name);

AnswerHead MakeAnswerHead(const ServedModel& model, const std::string& id, absl::Time arrival);

}  // namespace baton::gateway
