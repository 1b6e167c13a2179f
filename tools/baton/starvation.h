// Whether a process of this machine that gives no answer lacks a processor: others have them all.
// It is slow then, and does not hang.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <sys/types.h>

#include "absl/time/time.h"

namespace baton {

// What the kernel says of one thread (/proc/PID/task/TID: stat and schedstat).
struct ThreadUse {
  char state = '?';  // R: runs, or is ready to; T: stopped
  absl::Duration ran;
  absl::Duration waited;   // ready to run, while others ran; as of when it ran last
  uint64_t num_turns = 0;  // times that it got a processor
};

// By thread. Empty if there is no such process, or the kernel does not say.
using ThreadUses = std::map<std::string, ThreadUse>;
ThreadUses ReadThreadUses(const std::string& tasks_folder);

// The process lacked a processor: in `elapsed` from `before` to `now` one of its threads was ready
// to run, while others ran, for half of the time or more, and all of them together ran for less
// than that. Never of one that is stopped.
bool LackedProcessor(const ThreadUses& before, const ThreadUses& now, absl::Duration elapsed);

// The tasks folder of a process.
std::string TasksFolder(pid_t pid);

}  // namespace baton
