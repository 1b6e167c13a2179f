// The release of this source tree, the same in every program and handshake.
#pragma once

#include "absl/strings/string_view.h"

namespace baton {

inline constexpr absl::string_view kRelease = "0.1.0";

}  // namespace baton
