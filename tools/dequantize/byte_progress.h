// How far the writing of files is: one line of a terminal.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace baton {

// "[===   ]  50 %  1.50 of 3.00 GB  0.30 GB/s  5 s left": bytes so far, all, and the time they
// took; no time left where nothing is done yet. Nothing to do is all done.
std::string ByteProgressText(uint64_t done, uint64_t total, absl::Duration elapsed);

// Redrawn at most ten times a second; threads: one at a time.
class ByteProgress {
 public:
  explicit ByteProgress(std::ostream& err) : err_(err) {}

  // Bytes so far, and all. Ends the line at the end.
  void Show(uint64_t done, uint64_t total);

 private:
  std::ostream& err_;
  const absl::Time start_ = absl::Now();
  absl::Time next_ = absl::InfinitePast();
};

}  // namespace baton
