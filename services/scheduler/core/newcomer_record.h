// What newcomers of keys that do not flood are like: others make room for the next one.
#pragma once

#include "services/scheduler/core/core_time.h"

namespace baton::scheduler {

class NewcomerRecord final {
 public:
  // One came, of so many blocks, whose first token takes `seconds` where it is alone.
  void Note(double num_blocks, double seconds, TimeUs now);
  // One came a short while ago: the next may come at any moment.
  bool ExpectsOne(TimeUs now) const { return now < until_; }
  // What the next one will need, by those of late.
  double num_blocks() const { return num_blocks_; }
  // What its first token takes where it is alone: the harmonic mean, so that waiting for a part of
  // it makes theirs longer by this part, on average.
  double seconds() const { return inverse_seconds_ > 0 ? 1 / inverse_seconds_ : 0; }

 private:
  TimeUs until_ = 0;
  double num_blocks_ = 0;
  double inverse_seconds_ = 0;
};

}  // namespace baton::scheduler
