// The page at "/": a small chat with the served model.
#pragma once

#include "absl/strings/string_view.h"

namespace baton::gateway {

// HTML without external resources; it speaks to the server that it came from.
absl::string_view ChatPage();

}  // namespace baton::gateway
