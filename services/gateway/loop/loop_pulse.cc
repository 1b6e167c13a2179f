#include "services/gateway/loop/loop_pulse.h"

#include "absl/strings/str_cat.h"

namespace baton::gateway {

absl::Status LoopPulse::Check(absl::Time now) {
  {
    absl::MutexLock lock(&beat_->mutex);
    if (beat_->posted != absl::InfiniteFuture()) {
      const absl::Duration waited = now - beat_->posted;
      if (waited <= kLongestTurn) return absl::OkStatus();
      return absl::UnavailableError(
          absl::StrCat("the event loop has not answered for ",
                       absl::FormatDuration(absl::Trunc(waited, absl::Seconds(1)))));
    }
    beat_->posted = now;
  }
  executor_.Post([beat = beat_] {
    absl::MutexLock lock(&beat->mutex);
    beat->posted = absl::InfiniteFuture();
  });
  return absl::OkStatus();
}

}  // namespace baton::gateway
