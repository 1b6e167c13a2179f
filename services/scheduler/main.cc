// baton-scheduler: keeps every live sequence of a group and decides what its stages run.
#include <cstdlib>
#include <iostream>
#include <memory>

#include "absl/status/statusor.h"

#include "common/log/log.h"
#include "services/scheduler/scheduler_flags.h"
#include "services/scheduler/scheduler_server.h"

int main(int argc, char** argv) {
  baton::SetLogRole("scheduler");
  const baton::scheduler::SchedulerConfig config =
      baton::scheduler::ParseSchedulerFlags(argc, argv);
  absl::StatusOr<std::unique_ptr<baton::scheduler::SchedulerServer>> server =
      baton::scheduler::SchedulerServer::Create(config);
  if (!server.ok()) {
    BATON_LOG(ERROR) << server.status().message();
    return EXIT_FAILURE;
  }
  const absl::Status status = (*server)->RunUntilShutdown();
  if (status.ok()) return EXIT_SUCCESS;
  BATON_LOG(ERROR) << status.message();
  return EXIT_FAILURE;
}
