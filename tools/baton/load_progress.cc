#include "tools/baton/load_progress.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace baton {

void LoadProgress::Update(absl::string_view metrics, absl::Time now) {
  for (const absl::string_view line : absl::StrSplit(metrics, '\n')) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(line, absl::MaxSplits(' ', 1));
    absl::string_view name = parts.first;
    double value = 0;
    if (!absl::SimpleAtod(parts.second, &value)) continue;
    if (name == "baton_loader_sent_bytes_total") sent_bytes_ = value;
    if (absl::ConsumePrefix(&name, "baton_loader_load_fraction{"))
      fraction_by_stage_[std::string(name)] = value;
  }
  seen_ = now;
  if (sent_bytes_ > 0) began_ = std::min(began_, now);
}

double LoadProgress::fraction() const {
  double sum = 0;
  for (const auto& [stage, fraction] : fraction_by_stage_) sum += fraction;
  return std::min(1.0, sum / num_stages_);
}

std::string LoadProgress::Describe() const {
  if (sent_bytes_ <= 0) return "loading weights";
  const double elapsed = absl::ToDoubleSeconds(seen_ - began_);
  std::string text = absl::StrFormat("loading weights: %.0f %%, %.3g GiB", fraction() * 100,
                                     sent_bytes_ / (1 << 30));
  if (elapsed > 0 && fraction() > 0)
    absl::StrAppendFormat(&text, " at %.3g GiB/s, %.0f s left", sent_bytes_ / (1 << 30) / elapsed,
                          elapsed * (1 - fraction()) / fraction());
  return text;
}

}  // namespace baton
