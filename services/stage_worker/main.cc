// baton-stage-worker: runs the layers of one pipeline stage.
#include "absl/strings/str_cat.h"

#include "common/config/command_line.h"
#include "common/log/log.h"
#include "common/rpc/server_runtime.h"
#include "common/status/status_macros.h"
#include "common/transport/transport.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/reference/reference_backend.h"
#include "services/stage_worker/stage_config.h"
#include "services/stage_worker/stage_server.h"

namespace baton::stage {
namespace {

absl::StatusOr<std::unique_ptr<kernels::Backend>> MakeBackend(const StageConfig& config) {
  if (config.stage.backend == "reference") return kernels::CreateReferenceBackend();
  if (config.stage.backend == "cpu") {
    kernels::CpuOptions options;
    options.num_threads_per_device = config.num_threads_per_device;
    if (!config.cpu_variant.empty()) {
      ASSIGN_OR_RETURN(options.variant, kernels::ParseCpuVariant(config.cpu_variant));
    }
    return kernels::CreateCpuBackend(options);
  }
  if (config.stage.backend == "cuda") {
    absl::StatusOr<std::unique_ptr<kernels::Backend>> backend =
        kernels::CreateCudaBackend({.through_nccl = config.through_nccl,
                                    .through_cublas = config.through_cublas,
                                    .keeps_graphs = !config.enforce_eager});
    if (!backend.ok()) return Annotate(backend.status(), "--device=cuda");
    return backend;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--backend is \"", config.stage.backend, "\"; there is: cpu, cuda, reference"));
}

absl::Status Run() {
  ASSIGN_OR_RETURN(StageConfig config, ReadStageConfig());
  if (config.stage.stage_index.has_value()) {
    SetLogRole(absl::StrCat("stage-worker-", *config.stage.stage_index));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<ServerRuntime> runtime,
                   ServerRuntime::Create(config.server));
  ASSIGN_OR_RETURN(const std::unique_ptr<kernels::Backend> backend, MakeBackend(config));
  ASSIGN_OR_RETURN(config.stage.expands_prompts, ExpandsPrompts(config.prompt_attention, *backend));
  return StageServer(config, runtime.get(), backend.get()).Run();
}

}  // namespace
}  // namespace baton::stage

int main(int argc, char** argv) {
  baton::ParseCommandLine({"baton-stage-worker",
                           "Runs the layers of one pipeline stage: takes weights from the "
                           "model-loader and steps from the scheduler.",
                           "baton-stage-worker --scheduler leader:50052 --model-loader "
                           "loader:50054 --tensor-parallel-size 8"},
                          argc, argv);
  baton::SetLogRole("stage-worker");
  baton::PrepareTransportEnvironment();
  const absl::Status status = baton::stage::Run();
  if (status.ok()) return 0;
  BATON_LOG(ERROR) << status.ToString();
  // What must be changed by someone is not worth a restart: 78 is EX_CONFIG.
  const bool configuration = absl::IsInvalidArgument(status) || absl::IsNotFound(status) ||
                             absl::IsDataLoss(status) || absl::IsFailedPrecondition(status);
  return configuration ? 78 : 1;
}
