// The parts of a request that come as free text from the network.
#pragma once

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace baton::gateway {

struct RequestTarget {
  std::string path;   // "/v1/models"; nothing is decoded or normalised: routes match byte for byte
  std::string query;  // without the "?"
};

// Origin form ("/path?query") or absolute form ("http://host/path?query"). Anything else is kept as
// the path and matches no route.
RequestTarget ParseRequestTarget(absl::string_view target);

// `text` with each "%41" as the byte that it stands for. nullopt: an escape is broken, or stands
// for a control character. To be called on what stands behind a route: an encoded slash belongs to
// a name, and is no other way to write a path that a server in front may guard.
std::optional<std::string> DecodeEscapes(absl::string_view text);

// `value` if it is 1 to 128 letters, digits, '-', '_', '.' or ':'; else empty: the id is echoed and
// logged.
std::string CleanRequestId(absl::string_view value);

}  // namespace baton::gateway
