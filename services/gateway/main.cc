// baton-gateway: the OpenAI API and the gRPC Inference API in front of one group.
#include <cstdlib>
#include <memory>

#include "common/config/command_line.h"
#include "common/log/log.h"
#include "common/rpc/server_runtime.h"
#include "common/status/status_macros.h"
#include "services/gateway/gateway_config.h"
#include "services/gateway/gateway_server.h"

namespace baton::gateway {
namespace {

absl::Status Run() {
  ASSIGN_OR_RETURN(const GatewayConfig config, ReadGatewayConfig());
  ASSIGN_OR_RETURN(const std::unique_ptr<ServerRuntime> runtime,
                   ServerRuntime::Create(config.server));
  ASSIGN_OR_RETURN(const std::unique_ptr<GatewayServer> server,
                   GatewayServer::Create(config, runtime.get()));
  return server->Run();
}

}  // namespace
}  // namespace baton::gateway

int main(int argc, char** argv) {
  // With gRPC's default every thread waits for the sockets of all queues, and passes each event's
  // successor on to another thread by waking it. With this the client's thread waits for its own
  // socket alone: half as many sleeps a request (tests/bench/gateway_bench). It costs time by the
  // number of connections to the gRPC port, which are few: HTTP is not gRPC's.
  setenv("GRPC_POLL_STRATEGY", "poll", /*overwrite=*/0);
  baton::ParseCommandLine(
      {.name = "baton-gateway",
       .summary = "Serves the OpenAI API and the gRPC Inference API of one group.",
       .example = "baton-gateway --model /models/DeepSeek-R1 --served-model-name deepseek-r1 "
                  "--scheduler 127.0.0.1:50052 --port 8000"},
      argc, argv);
  baton::SetLogRole("gateway");
  if (const absl::Status status = baton::gateway::Run(); !status.ok()) {
    BATON_LOG(ERROR) << status.message();
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
