// The part of Group that sees to it that no process hangs.
#include <algorithm>
#include <csignal>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/concurrency/steady_time.h"
#include "tools/baton/group.h"

namespace baton {

// Kills the processes that hang.
void Group::CheckLiveness() {
  const absl::Time now = awake_.now();
  for (Member& member : members_) {
    member.probe.Advance(now);
    if (!member.probe.late(now)) {
      member.late_since.reset();
      member.starves = false;
      continue;
    }
    if (!member.late_since.has_value()) {
      member.late_since.emplace(now, ReadThreadUses(TasksFolder(member.child->pid())));
    }
    if (!member.probe.hangs(now) || ExcuseIfItStarves(&member)) continue;
    member.probe.Stop();
    PrintLine("baton",
              absl::StrCat(member.name, " (pid ", member.child->pid(),
                           ") has not answered /health/live for ",
                           absl::FormatDuration(options_.liveness_timeout), "; killing it"));
    member.child->Signal(SIGKILL);
  }
}

bool Group::ExcuseIfItStarves(Member* member) {
  const absl::Time now = awake_.now();
  ThreadUses uses = ReadThreadUses(TasksFolder(member->child->pid()));
  if (!LackedProcessor(member->late_since->second, uses, now - member->late_since->first) ||
      !member->probe.Excuse(now)) {
    return false;
  }
  member->late_since.emplace(now, std::move(uses));
  if (!std::exchange(member->starves, true)) {
    PrintLine("baton", absl::StrCat(member->name, " (pid ", member->child->pid(),
                                    ") does not answer /health/live: it lacks a processor"));
  }
  return true;
}

absl::Time Group::NextDue() const {
  absl::Time due = absl::InfiniteFuture();
  for (const Member& member : members_) {
    due = std::min(due, SteadyNow() + (member.probe.next_due() - awake_.now()));
    if (member.start_at.has_value()) due = std::min(due, *member.start_at);
  }
  return due;
}

}  // namespace baton
