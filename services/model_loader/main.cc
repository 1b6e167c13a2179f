// baton-model-loader: reads a checkpoint and streams to every rank what it needs.
#include <cstdlib>

#include "common/config/command_line.h"
#include "common/log/log.h"
#include "common/rpc/server_runtime.h"
#include "common/status/status_macros.h"
#include "common/transport/transport.h"
#include "services/model_loader/loader_config.h"
#include "services/model_loader/loader_server.h"

namespace baton::loader {
namespace {

absl::Status Run() {
  ASSIGN_OR_RETURN(const LoaderConfig config, ReadLoaderConfig());
  ASSIGN_OR_RETURN(const std::unique_ptr<ServerRuntime> runtime,
                   ServerRuntime::Create(config.server));
  ASSIGN_OR_RETURN(const std::unique_ptr<LoaderServer> server,
                   LoaderServer::Create(config, runtime.get()));
  absl::Status status = server->Run();
  if (server->num_stuck_reads() > 0) {
    BATON_LOG(ERROR) << server->num_stuck_reads()
                     << " read(s) still wait for the storage; leaving without them";
    std::_Exit(1);
  }
  return status;
}

}  // namespace
}  // namespace baton::loader

int main(int argc, char** argv) {
  baton::ParseCommandLine({"baton-model-loader",
                           "Reads a checkpoint and streams to every stage-worker the slices that "
                           "its ranks need.",
                           "baton-model-loader --model /models/DeepSeek-R1 "
                           "--listen-address 0.0.0.0:50054 --read-threads 8"},
                          argc, argv);
  baton::SetLogRole("model-loader");
  baton::PrepareTransportEnvironment();
  const absl::Status status = baton::loader::Run();
  if (status.ok()) return 0;
  BATON_LOG(ERROR) << status.ToString();
  // What must be changed by someone is not worth a restart: 78 is EX_CONFIG.
  const bool configuration = absl::IsInvalidArgument(status) || absl::IsNotFound(status) ||
                             absl::IsDataLoss(status) || absl::IsFailedPrecondition(status);
  return configuration ? 78 : 1;
}
