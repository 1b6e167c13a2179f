// The command line of baton-scheduler.
#pragma once

#include "absl/status/statusor.h"

#include "services/scheduler/scheduler_config.h"

namespace baton::scheduler {

// Parses the flags; ends the process on --help or an unknown flag.
SchedulerConfig ParseSchedulerFlags(int argc, char** argv);

}  // namespace baton::scheduler
