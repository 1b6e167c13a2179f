// One line on a terminal that says how far a run is.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>

#include "absl/time/time.h"

namespace baton::bench {

// " 45%|####      | 9/20 [00:03, 2.9 req/s, 1 failed]"
std::string ProgressText(int64_t num_ended, int64_t num_failed, int64_t num_all,
                         absl::Duration elapsed);

class ProgressBar final {
 public:
  // `out` must outlive this.
  ProgressBar(std::ostream& out, int64_t num_all);
  // Draws at most ten times a second, and at the end.
  void Show(int64_t num_ended, int64_t num_failed);

 private:
  std::ostream& out_;
  const int64_t num_all_;
  const absl::Time begin_;
  absl::Time last_ = absl::InfinitePast();
};

}  // namespace baton::bench
