// How far the writing of files is: one line of a terminal.
#pragma once

#include <cstdint>
#include <iosfwd>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace baton {

// Redrawn at most ten times a second; threads: one at a time.
class ByteProgress {
 public:
  explicit ByteProgress(std::ostream& err) : err_(err) {}

  // Bytes so far, and all.
  void Show(uint64_t done, uint64_t total);

 private:
  std::ostream& err_;
  const absl::Time start_ = absl::Now();
  absl::Time next_ = absl::InfinitePast();
};

}  // namespace baton
