// What newcomers of keys that do not flood are like: others make room for the next one.
#pragma once

#include "services/scheduler/core/core_time.h"

namespace baton::scheduler {

class NewcomerRecord final {
 public:
  // One came, of so many blocks.
  void Note(double num_blocks, TimeUs now);
  // One came a short while ago: the next may come at any moment.
  bool ExpectsOne(TimeUs now) const { return now < until_; }
  // What the next one will need, by those of late.
  double num_blocks() const { return num_blocks_; }

 private:
  TimeUs until_ = 0;
  double num_blocks_ = 0;
};

}  // namespace baton::scheduler
