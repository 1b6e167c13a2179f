// Small checks and facts that several calls share.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

#include "services/gateway/answers/answer_writer.h"
#include "services/gateway/generation/sequence_builder.h"
#include "services/gateway/http/http_message.h"
#include "services/gateway/model/served_model.h"

namespace baton::gateway {

// "Bearer KEY" of the Authorization header, or of the x-api-key that other APIs' clients send.
std::string CredentialsOf(const HttpRequest& request);

// InvalidArgument (reason "unsupported_content_type") if a Content-Type is given and is not JSON.
absl::Status CheckJsonContentType(const HttpRequest& request);

// NotFound (reason "model_not_found") naming the model and those that are served.
absl::Status CheckModelName(const ServedModel& model, absl::string_view name);

AnswerHead MakeAnswerHead(const ServedModel& model, const std::string& id, absl::Time arrival);

// Whether a body is to be parsed beside the loop: a long one, and one that may hold a constraint,
// which may take 200 ms to compile. True of some that hold none.
bool BelongsToTextWorker(absl::string_view body);

// Whether a JSON body may have a field whose name, with its quotes, contains one of `names`, which
// are of lower-case letters, underscores and quotes: true where it stands anywhere in the text, or
// where a letter is escaped, without parsing.
bool MayNameField(absl::string_view body, std::initializer_list<absl::string_view> names);

// When a request has had `timeout`, of SteadyNow().
absl::Time DeadlineOf(const HttpRequest& request, absl::Duration timeout);

// InvalidArgument (reason "answer_too_large") once an answer that is kept until its end has grown
// over `most` bytes.
absl::Status CheckWholeAnswer(size_t num_bytes, size_t most);

// `scope` under the name that the body gives the request, unless a header has named it.
RequestScope NamedScope(const RequestScope& scope, const HttpRequest& http_request,
                        const std::string& id_prefix, const std::string& request_id);

}  // namespace baton::gateway
