// What one `baton serve` command asks for, and the command line of each process that follows.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "tools/baton/restart_budget.h"
#include "tools/baton/serve_flags.h"

namespace baton {

enum class Role { kModelLoader, kScheduler, kStageWorker, kGateway };

// "stage-worker"; the program is "baton-stage-worker".
absl::string_view NameOf(Role role);

struct ServeOptions {
  std::string model_dir;
  std::string host = "127.0.0.1";
  int port = 8000;
  int grpc_port = 50051;
  int num_stages = 1;
  int num_ranks = 1;
  bool verbose = false;
  bool restart = true;
  RestartLimits restart_limits;  // of each process
  // A process that does not answer for this long hangs: it is killed and started again.
  absl::Duration liveness_timeout = absl::Milliseconds(1500);
  absl::Duration drain_timeout = absl::Seconds(30);
  // Added to the niceness of stage-workers [0, 19]: they compute all the time that they get, and
  // whoever answers requests beside them must not wait for their time slice to end.
  int stage_worker_nice = 5;
  std::string state_file;  // empty: none
  // Flags that roles take over as they are: name to values.
  std::map<std::string, std::vector<std::string>> passed_on;
  // One line per flag that is ignored, or served with another value.
  std::vector<std::string> warnings;
};

// Parses the words after `baton serve`. A flag that is not given is taken from the environment
// (BATON_MAX_NUM_SEQS). Errors: InvalidArgument with a line for the user: unknown flag (with a
// suggestion), missing or bad value, no model, a folder without config.json.
absl::StatusOr<ServeOptions> ParseServeOptions(const std::vector<std::string>& words);

// Text of `baton serve --help`.
std::string ServeHelp();

// Addresses of peers that a process must be told, as "host:port".
struct PeerAddresses {
  std::string scheduler;
  std::string model_loader;
};

// Where one process listens.
struct ProcessPlace {
  std::string ports_file;  // it writes its ports there
  // The ports that it had in an earlier life, by name, so that its peers find it again; empty: as
  // the options say.
  std::map<std::string, int> ports;
};

// Arguments, without the program's name, of one process of the group. `index` is the stage's.
std::vector<std::string> ArgumentsOf(Role role, int index, const ServeOptions& options,
                                     const PeerAddresses& peers, const ProcessPlace& place);

// Variables, as "NAME=value", of one process of the group on top of the supervisor's environment:
// what must not stand on a command line, which every user of the machine can read.
std::vector<std::string> EnvironmentOf(Role role, const ServeOptions& options);

}  // namespace baton
