#include "services/scheduler/core/newcomer_record.h"

namespace baton::scheduler {
namespace {

// So long after one came, another may come.
constexpr TimeUs kReturns = 10'000'000;
// Of the newest in the means.
constexpr double kWeight = 1.0 / 8;

}  // namespace

void NewcomerRecord::Note(double num_blocks, double seconds, TimeUs now) {
  const double weight = ExpectsOne(now) ? kWeight : 1;
  num_blocks_ += weight * (num_blocks - num_blocks_);
  if (seconds > 0) inverse_seconds_ += weight * (1 / seconds - inverse_seconds_);
  until_ = now + kReturns;
}

}  // namespace baton::scheduler
