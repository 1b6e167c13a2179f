// JSON from the network, refused where a lenient parser would guess.
#pragma once

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

#include "services/gateway/admission/request_caps.h"

namespace baton::gateway {

// Keeps the order of keys: chat templates may show it.
using Json = nlohmann::ordered_json;

struct JsonLimits {
  size_t depth = 64;                // arrays and objects inside one another
  size_t keys_per_object = 4096;    // of one object
  size_t values = size_t{1} << 20;  // in all
  bool of_body = false;             // of a request: errors name the flags of the limits
};

// Errors: InvalidArgument with the position: no JSON, invalid UTF-8, a number beyond double,
// a key twice in one object, a limit broken.
absl::StatusOr<Json> ParseStrictJson(absl::string_view text, const JsonLimits& limits = {});

// As above, and InvalidArgument unless it is an object.
absl::StatusOr<Json> ParseJsonObject(absl::string_view text, const JsonLimits& limits = {});

// A request's body, which must be an object. Errors: as above, and a limit's names its flag.
absl::StatusOr<Json> ParseBody(absl::string_view text, const RequestCaps& caps);

// `json` as text without line breaks; bytes that are not UTF-8 become U+FFFD.
std::string DumpJson(const Json& json);

// Appends `text` as a JSON string, quotes included. `text` must be valid UTF-8.
void AppendJsonString(absl::string_view text, std::string* out);

}  // namespace baton::gateway
