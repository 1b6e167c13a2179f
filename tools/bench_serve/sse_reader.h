// Cuts server-sent events out of the bytes of a stream.
#pragma once

#include <functional>
#include <string>

#include "absl/strings/string_view.h"

namespace baton::bench {

class SseReader final {
 public:
  // Calls `on_data` with the text of each `data:` line that has become complete. Comments (`:`) and
  // other fields are skipped; lines end with \n or \r\n, wherever the pieces are cut.
  void Feed(absl::string_view piece, const std::function<void(absl::string_view data)>& on_data);

 private:
  std::string line_;  // begun, not yet ended
};

}  // namespace baton::bench
