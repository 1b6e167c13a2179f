#include "tools/bench_serve/progress_bar.h"

#include <algorithm>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace baton::bench {
namespace {

constexpr absl::Duration kInterval = absl::Milliseconds(100);
constexpr size_t kBarWidth = 20;

}  // namespace

std::string ProgressText(int64_t num_ended, int64_t num_failed, int64_t num_all,
                         absl::Duration elapsed) {
  const double part =
      static_cast<double>(num_ended) / static_cast<double>(std::max<int64_t>(num_all, 1));
  const auto filled = static_cast<size_t>(part * kBarWidth);
  const double seconds = absl::ToDoubleSeconds(elapsed);
  const auto whole = static_cast<int64_t>(seconds);
  return absl::StrCat(
      absl::StrFormat("%3d%%|", static_cast<int>(part * 100)), std::string(filled, '#'),
      std::string(kBarWidth - std::min(filled, kBarWidth), ' '),
      absl::StrFormat("| %d/%d [%02d:%02d, %.1f req/s", num_ended, num_all, whole / 60, whole % 60,
                      seconds > 0 ? static_cast<double>(num_ended) / seconds : 0.0),
      num_failed > 0 ? absl::StrCat(", ", num_failed, " failed]") : "]");
}

ProgressBar::ProgressBar(std::ostream& out, int64_t num_all)
    : out_(out), num_all_(num_all), begin_(absl::Now()) {}

void ProgressBar::Show(int64_t num_ended, int64_t num_failed) {
  const absl::Time now = absl::Now();
  const bool last = num_ended == num_all_;
  if (!last && now - last_ < kInterval) return;
  last_ = now;
  out_ << "\r\033[K" << ProgressText(num_ended, num_failed, num_all_, now - begin_);
  if (last) out_ << "\n";
  out_.flush();
}

}  // namespace baton::bench
