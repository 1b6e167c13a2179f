// What a user sees while a group starts: one line that is rewritten on a terminal, or a line every
// few seconds elsewhere.
#pragma once

#include <cstdio>
#include <string>

#include "absl/time/time.h"

namespace baton {

class ProgressLine final {
 public:
  // `out` must outlive this object.
  explicit ProgressLine(absl::Time now, std::FILE* out = stdout);

  // True if the last text was shown long enough ago.
  bool Due(absl::Time now) const;
  void Show(absl::Time now, const std::string& text);
  // Takes the line off the terminal, so that other output starts on a clean one.
  void Clear();

 private:
  const absl::Time start_;
  std::FILE* const out_;
  const bool terminal_;
  absl::Time shown_;
  std::string text_;
};

}  // namespace baton
