#include "tools/top/interval.h"

#include "absl/strings/str_cat.h"

namespace baton::top {
namespace {

constexpr char kStart[] = "process_start_time_seconds";

}  // namespace

Interval::Interval(const Scrape& now, const Scrape* before) : now_(&now), before_(before) {
  const bool same_process = before != nullptr && !before->samples.empty() &&
                            before->samples.Get(kStart) == now.samples.Get(kStart);
  if (!same_process) before_ = nullptr;
  seconds_ = before_ != nullptr ? absl::ToDoubleSeconds(now.time - before_->time)
                                : absl::ToUnixMicros(now.time) * 1e-6 - now.samples.Get(kStart);
}

double Interval::Growth(absl::string_view name) const {
  return now_->samples.Get(name) - (before_ == nullptr ? 0 : before_->samples.Get(name));
}

double Interval::Rate(absl::string_view name) const {
  return seconds_ > 0 ? Growth(name) / seconds_ : 0;
}

std::optional<double> Interval::Mean(absl::string_view histogram) const {
  const double count = Growth(absl::StrCat(histogram, "_count"));
  if (count <= 0) return std::nullopt;
  return Growth(absl::StrCat(histogram, "_sum")) / count;
}

}  // namespace baton::top
