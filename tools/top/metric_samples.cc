#include "tools/top/metric_samples.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace baton::top {

MetricSamples MetricSamples::Parse(absl::string_view text) {
  MetricSamples parsed;
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const size_t space = line.rfind(' ');
    double value = 0;
    if (line[0] == '#' || space == absl::string_view::npos ||
        !absl::SimpleAtod(line.substr(space + 1), &value)) {
      continue;
    }
    parsed.samples_[std::string(line.substr(0, space))] = value;
  }
  return parsed;
}

std::optional<double> MetricSamples::Find(absl::string_view name) const {
  std::optional<double> sum;
  for (auto at = samples_.lower_bound(std::string(name));
       at != samples_.end() && absl::StartsWith(at->first, name); ++at) {
    const bool same = at->first.size() == name.size() || at->first[name.size()] == '{';
    if (same) sum = sum.value_or(0) + at->second;
  }
  return sum;
}

bool MetricSamples::HasPrefix(absl::string_view prefix) const {
  const auto at = samples_.lower_bound(std::string(prefix));
  return at != samples_.end() && absl::StartsWith(at->first, prefix);
}

std::string MetricSamples::Label(absl::string_view name, absl::string_view label) const {
  const auto at = samples_.lower_bound(absl::StrCat(name, "{"));
  if (at == samples_.end() || !absl::StartsWith(at->first, absl::StrCat(name, "{"))) return "";
  const std::string before = absl::StrCat(label, "=\"");
  const size_t begin = at->first.find(before);
  if (begin == std::string::npos) return "";
  const size_t value = begin + before.size();
  return at->first.substr(value, at->first.find('"', value) - value);
}

}  // namespace baton::top
