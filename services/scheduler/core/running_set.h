// The sequences that hold blocks and may run, in the order in which they are served.
#pragma once

#include <set>

#include "services/scheduler/core/sequence.h"

namespace baton::scheduler {

using RunningSet = std::set<Sequence*, ServedBefore>;

}  // namespace baton::scheduler
