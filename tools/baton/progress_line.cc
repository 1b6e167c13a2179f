#include "tools/baton/progress_line.h"

#include <unistd.h>

#include "absl/strings/str_format.h"

namespace baton {
namespace {

constexpr absl::Duration kTerminalPeriod = absl::Milliseconds(100);
constexpr absl::Duration kLogPeriod = absl::Seconds(5);

}  // namespace

// A log gets its first line after a period: most groups of small models are ready before.
ProgressLine::ProgressLine(absl::Time now, std::FILE* out)
    : start_(now),
      out_(out),
      terminal_(isatty(fileno(out)) == 1),
      shown_(terminal_ ? absl::InfinitePast() : now) {}

bool ProgressLine::Due(absl::Time now) const {
  return now - shown_ >= (terminal_ ? kTerminalPeriod : kLogPeriod);
}

void ProgressLine::Show(absl::Time now, const std::string& text) {
  shown_ = now;
  text_ = absl::StrFormat("starting, %.0f s: %s", absl::ToDoubleSeconds(now - start_), text);
  std::fputs((terminal_ ? "\r\033[K" + text_ : text_ + "\n").c_str(), out_);
  std::fflush(out_);
}

void ProgressLine::Clear() {
  if (!terminal_ || text_.empty()) return;
  text_.clear();
  std::fputs("\r\033[K", out_);
  std::fflush(out_);
}

}  // namespace baton
