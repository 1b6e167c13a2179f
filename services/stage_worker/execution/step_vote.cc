#include "services/stage_worker/execution/step_vote.h"

namespace baton::stage {

bool StepVote::Agree(bool yes) {
  absl::MutexLock lock(&mutex_);
  all_yes_ = all_yes_ && yes;
  if (++num_votes_ == num_devices_) {
    decision_ = all_yes_;
    all_yes_ = true;
    num_votes_ = 0;
    ++round_;
    decided_.SignalAll();
    return decision_;
  }
  // The next round cannot be decided before this device votes in it: decision_ stays until read.
  // Each other device votes in the same step whatever happens to it, its own waits having
  // deadlines.
  const uint64_t my_round = round_;
  while (round_ == my_round) decided_.Wait(&mutex_);
  return decision_;
}

}  // namespace baton::stage
