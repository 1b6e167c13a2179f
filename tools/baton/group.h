// A group of processes on this machine: started, watched and stopped by one thread, which owns all
// of this state.
//
//   starting: scheduler and model-loader at once; stage-workers and gateway once those have
//             written their ports; ready when the gateway's /health/ready says so
//   serving:  sleeps until a child writes or ends, a signal comes, or liveness is to be asked;
//             a process that dies is started again on the ports that it had, one that hangs is
//             killed first; one that dies too often, or says that it cannot run so, ends the group
//   stopping: gateway, scheduler, stage-workers, model-loader, each after the one before has ended
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "tools/baton/awake_clock.h"
#include "tools/baton/child.h"
#include "tools/baton/liveness_probe.h"
#include "tools/baton/load_progress.h"
#include "tools/baton/progress_line.h"
#include "tools/baton/restart_budget.h"
#include "tools/baton/serve_options.h"
#include "tools/baton/starvation.h"

namespace baton {

class Group final {
 public:
  // `programs`: the folder that holds baton-scheduler and its siblings. Blocks SIGINT, SIGTERM and
  // SIGCHLD for this thread. Errors: Internal (no descriptors, no scratch folder).
  static absl::StatusOr<std::unique_ptr<Group>> Create(ServeOptions options, std::string programs);
  ~Group();
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  // Starts the group and serves until a signal (OK) or until a child dies for good (Internal,
  // naming it, how it ended and why it is not started again). All children have ended when it
  // returns.
  absl::Status Run();

 private:
  struct Member {
    Role role;
    int index;         // of a stage; else 0
    std::string name;  // "stage-worker-1"
    // Its ports are empty until it has written them once; then they stay for all its lives, but for
    // those that it cannot listen on any more and nobody was told.
    ProcessPlace place;
    std::unique_ptr<Child> child;
    RestartBudget budget;
    LivenessProbe probe;
    // While its answer is late: what its threads had at that time of awake_.
    std::optional<std::pair<absl::Time, ThreadUses>> late_since = std::nullopt;
    bool starves = false;                               // said so in this silence
    bool listens = false;                               // has written its ports in this life
    std::optional<absl::Time> start_at = std::nullopt;  // dead, and to be started again then
  };

  Group(ServeOptions options, std::string programs, std::string scratch, int signal_fd);

  absl::Status StartMember(Role role, int index);
  absl::Status StartChild(Member* member, absl::Time now);
  absl::Status TakeDeath(Member* member);
  // Why a death is final; empty: the process is to be started again. `unheard`: it has not listened
  // in this life, as it had in an earlier one.
  std::string FinalBecause(const Child& child, bool unheard) const;
  absl::Status StartDueMembers();
  void CheckLiveness();
  // True: the member, which seems to hang, lacks a processor, and is given more time for that.
  bool ExcuseIfItStarves(Member* member);
  absl::Time NextDue() const;
  absl::Status Advance();
  absl::Status Watch(absl::Time until);
  void ReadPorts();
  bool HavePorts(Role role) const;
  bool HaveAllPorts() const;
  const Member& First(Role role) const;
  absl::Status BecomeReadyIfSo();
  std::string DescribeProgress();
  absl::Status WriteState() const;
  std::string Endpoint() const;
  absl::Status CheckChildren();
  // Internal: a process crashed, failed or had to be killed, though it was only asked to stop.
  absl::Status StopInOrder();
  void StopRole(Role role);
  void PrintLine(const std::string& name, const std::string& line);

  const ServeOptions options_;
  const std::string programs_;
  const std::string scratch_;  // folder of the ports files; removed at the end
  const int signal_fd_;
  std::vector<Member> members_;
  AwakeClock awake_;
  ProgressLine progress_;
  LoadProgress load_progress_;
  bool ready_ = false;    // has been, once
  bool settled_ = false;  // ready, and the state file is written
  bool stopping_ = false;
  int signals_ = 0;       // SIGINT and SIGTERM seen
  bool hurried_ = false;  // no drain: a child has died, or a second signal came
};

}  // namespace baton
