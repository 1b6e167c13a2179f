// One process now and a moment ago: rates and means of what lies between.
#pragma once

#include <optional>

#include "absl/strings/string_view.h"

#include "tools/top/scrape.h"

namespace baton::top {

// Both must outlive this.
class Interval final {
 public:
  // `before` may be null (the process is new or was not asked yet): counts are then since its
  // start.
  Interval(const Scrape& now, const Scrape* before);

  double Now(absl::string_view name) const { return now_->samples.Get(name); }
  // How much a counter grew, and by how much a second. A process that started again counts from 0.
  double Growth(absl::string_view name) const;
  double Rate(absl::string_view name) const;
  // Mean of what a histogram observed; nothing if it observed nothing.
  std::optional<double> Mean(absl::string_view histogram) const;

 private:
  const Scrape* now_;
  const Scrape* before_;
  double seconds_ = 0;
};

}  // namespace baton::top
