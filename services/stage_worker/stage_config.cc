#include "services/stage_worker/stage_config.h"

#include <algorithm>
#include <cstdlib>
#include <sched.h>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"

#include "common/config/byte_size.h"
#include "common/rpc/identity_flags.h"
#include "common/status/status_macros.h"

ABSL_FLAG(std::string, scheduler, "",
          "host:port of the scheduler; empty: LWS_LEADER_ADDRESS with port 50052");
ABSL_FLAG(std::string, model_loader, "127.0.0.1:50054", "host:port of the model-loader");
ABSL_FLAG(int, stage_index, -1,
          "stage to run, from 0; -1: the pod's in its LeaderWorkerSet, as LWS_WORKER_INDEX says, "
          "else any that is free");
ABSL_FLAG(bool, leader_is_stage, false,
          "the leader of the LeaderWorkerSet runs stage 0; otherwise its first worker does");
ABSL_FLAG(int, tensor_parallel_size, 1, "ranks of this stage");
ABSL_FLAG(
    int, num_devices, 0,
    "devices that the ranks are spread over; 0: one each on GPUs, and on CPUs where there is a "
    "core for each, else one for all");
ABSL_FLAG(int, cpu_threads, 0, "threads of this stage, shared by its ranks; 0: one per core");
ABSL_FLAG(std::string, device, "auto",
          "where the stage computes: cpu, or cuda for NVIDIA GPUs; auto: cpu");
ABSL_FLAG(std::string, backend, "", "kernels: cpu, cuda or reference; empty: those of --device");
ABSL_FLAG(
    std::string, cpu_variant, "",
    "instructions of the cpu backend: portable, avx2, avx512, avx512_bf16 or amx_bf16; empty: "
    "the best that the machine has");
ABSL_FLAG(
    std::string, prompt_attention, "auto",
    "form of attention for whole blocks of prompts: expanded (faster on CPUs; blocks of answers "
    "are computed again where they stand in a later prompt), absorbed (they are not), auto: "
    "expanded where the kernels have it; the same on all stages");
ABSL_FLAG(bool, disable_custom_all_reduce, false,
          "sums over the GPUs of a stage go through NCCL even where they can read each other's "
          "memory; the answers are the same");
ABSL_FLAG(std::string, gemm_backend, "own",
          "dense products of 512 rows and more on GPUs: own, or cublas for cuBLASLt, with which "
          "answers depend on how prompts are cut, on neighbours and on what is cached");
ABSL_FLAG(bool, enforce_eager, false,
          "steps on GPUs are launched operation by operation, not as graphs made before the first; "
          "slower, for a look at a fault; the answers are the same");
ABSL_FLAG(std::string, memory_bytes, "0",
          "bytes that weights, workspace and KV cache may take, for example 96GiB; 0: what "
          "--gpu-memory-utilization leaves");
ABSL_FLAG(double, gpu_memory_utilization, 0.9,
          "share of each GPU's memory that weights, workspace and KV cache may take; on CPUs the "
          "share of what is free that the KV cache may take; for example 0.85");
ABSL_FLAG(std::string, kv_cache_memory_bytes, "0",
          "bytes of KV cache, for example 16GiB; 0: what the others leave, on CPUs without "
          "--memory-bytes 256MiB");
ABSL_FLAG(
    std::string, constraint_memory_bytes, "512MiB",
    "bytes that structured output may take on the stage that draws: masks of tokens, compiled "
    "constraints and their states; what does not fit beside those in use is refused");
ABSL_FLAG(
    std::string, packed_weights_dir, "",
    "folder of this user's alone in which weights are kept as the CPU's kernels read them: the "
    "next start with the same program, checkpoint and stage checks and maps them instead of "
    "loading; made if its last part is missing; empty: weights are not kept");
ABSL_FLAG(std::string, packed_weights_bytes, "0",
          "bytes that the files of --packed-weights-dir may take, for example 200GiB: those that "
          "nobody uses go for new ones, the least lately used first; 0: as long as a fifth of its "
          "file system stays free");
ABSL_FLAG(std::string, listen_address, "127.0.0.1:50053", "gRPC address; port 0: any free one");
ABSL_FLAG(std::string, metrics_address, "127.0.0.1:9093",
          "address of /metrics and /health; port 0: any free one; empty: none");
ABSL_FLAG(std::string, ports_file, "", "file to write the bound ports to, as JSON");
ABSL_FLAG(absl::Duration, drain_timeout, absl::Seconds(30),
          "how long steps may go on after SIGTERM");
ABSL_FLAG(absl::Duration, step_timeout, absl::Seconds(30),
          "longest wait of a step for the neighbouring stages");
ABSL_FLAG(absl::Duration, scheduler_timeout, absl::Seconds(1),
          "a scheduler that is silent for longer is lost");
ABSL_FLAG(std::string, ucx_transports, "",
          "UCX transports: \"tcp\", \"sm\"; empty: what UCX_TLS says, else all");
ABSL_FLAG(std::string, ucx_net_devices, "",
          "network devices for UCX: \"eth0\", \"mlx5_0:1\"; empty: what UCX_NET_DEVICES says");
ABSL_FLAG(absl::Duration, ucx_spin, absl::ZeroDuration(),
          "how long the transport polls after traffic before it sleeps; for machines with cores to "
          "spare");
ABSL_FLAG(std::string, least_link_rate, "0",
          "bytes a second that the link from the stage before carries at least, for example 16MiB: "
          "payloads under way get the time that it takes for them before it counts as cut; 0: "
          "25 MB over TCP, 1 GB over other transports");

namespace baton::stage {
namespace {

constexpr int kMaxRanks = 64;
constexpr int kMaxThreads = 1024;
constexpr int kSchedulerPort = 50052;
// What one large constraint needs.
constexpr uint64_t kLeastConstraintBytes = uint64_t{64} << 20;

absl::Status CheckRange(absl::string_view flag, int value, int least, int most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--", flag, " is ", value, "; wanted ", least, " to ", most));
}

absl::Status CheckPositive(absl::string_view flag, absl::Duration value) {
  if (value > absl::ZeroDuration()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--", flag, " is ", absl::FormatDuration(value), "; wanted more than 0"));
}

absl::StatusOr<double> UtilizationFlag() {
  const double share = absl::GetFlag(FLAGS_gpu_memory_utilization);
  if (share > 0.0 && share <= 1.0) return share;
  return absl::InvalidArgumentError(
      absl::StrCat("--gpu-memory-utilization is ", share, "; wanted above 0 to 1"));
}

absl::StatusOr<uint64_t> BytesFlag(absl::string_view flag, const std::string& text) {
  absl::StatusOr<uint64_t> bytes = ParseByteSize(text);
  if (!bytes.ok()) return Annotate(bytes.status(), absl::StrCat("--", flag));
  return bytes;
}

absl::StatusOr<uint64_t> ConstraintBytes() {
  const std::string text = absl::GetFlag(FLAGS_constraint_memory_bytes);
  ASSIGN_OR_RETURN(const uint64_t bytes, BytesFlag("constraint-memory-bytes", text));
  if (bytes >= kLeastConstraintBytes) return bytes;
  return absl::InvalidArgumentError(
      absl::StrCat("--constraint-memory-bytes is ", text, "; wanted 64MiB or more"));
}

absl::StatusOr<uint64_t> PackedWeightsBytes() {
  ASSIGN_OR_RETURN(const uint64_t bytes,
                   BytesFlag("packed-weights-bytes", absl::GetFlag(FLAGS_packed_weights_bytes)));
  if (bytes == 0 || !absl::GetFlag(FLAGS_packed_weights_dir).empty()) return bytes;
  return absl::InvalidArgumentError(
      "--packed-weights-bytes bounds a folder; --packed-weights-dir does not say which");
}

absl::StatusOr<std::string> SchedulerAddress(const PodPlace& place) {
  const std::string given = absl::GetFlag(FLAGS_scheduler);
  if (!given.empty()) return given;
  if (!place.leader_address.empty()) return JoinHostPort(place.leader_address, kSchedulerPort);
  return absl::InvalidArgumentError(
      "--scheduler is missing: host:port of the scheduler (LWS_LEADER_ADDRESS is not set either)");
}

absl::StatusOr<std::optional<uint32_t>> StageIndex(const PodPlace& place) {
  const int given = absl::GetFlag(FLAGS_stage_index);
  if (given >= 0) return static_cast<uint32_t>(given);
  return StageOfPod(place, absl::GetFlag(FLAGS_leader_is_stage));
}

// The kernels that --device and --backend ask for.
absl::StatusOr<std::string> BackendName() {
  const std::string device = absl::GetFlag(FLAGS_device);
  const std::string backend = absl::GetFlag(FLAGS_backend);
  if (device != "auto" && device != "cpu" && device != "cuda") {
    return absl::InvalidArgumentError(
        absl::StrCat("--device is \"", device, "\"; there is: auto, cpu, cuda"));
  }
  if (backend.empty()) return device == "cuda" ? "cuda" : "cpu";
  if (device != "auto" && (device == "cuda") != (backend == "cuda")) {
    return absl::InvalidArgumentError(
        absl::StrCat("--backend=", backend, " does not run on --device=", device));
  }
  return backend;
}

// Whether --gemm-backend asks for cuBLASLt.
absl::StatusOr<bool> CublasFlag(absl::string_view backend) {
  const std::string products = absl::GetFlag(FLAGS_gemm_backend);
  if (products == "own") return false;
  if (products != "cublas") {
    return absl::InvalidArgumentError(
        absl::StrCat("--gemm-backend is \"", products, "\"; there is: own, cublas"));
  }
  if (backend == "cuda") return true;
  return absl::InvalidArgumentError(
      absl::StrCat("--gemm-backend=cublas needs --device=cuda; kernels are those of ", backend));
}

absl::Status CheckPromptAttention(absl::string_view form) {
  if (form == "auto" || form == "expanded" || form == "absorbed") return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--prompt-attention is \"", form, "\"; there is: auto, expanded, absorbed"));
}

// Cores that this process may use.
int NumCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof(set), &set) == 0 ? std::max(1, CPU_COUNT(&set)) : 1;
}

absl::Status CheckFlags() {
  const int num_ranks = absl::GetFlag(FLAGS_tensor_parallel_size);
  RETURN_IF_ERROR(CheckRange("tensor-parallel-size", num_ranks, 1, kMaxRanks));
  RETURN_IF_ERROR(CheckRange("num-devices", absl::GetFlag(FLAGS_num_devices), 0, num_ranks));
  RETURN_IF_ERROR(CheckRange("cpu-threads", absl::GetFlag(FLAGS_cpu_threads), 0, kMaxThreads));
  RETURN_IF_ERROR(CheckRange("stage-index", absl::GetFlag(FLAGS_stage_index), -1, 1 << 16));
  RETURN_IF_ERROR(CheckPositive("step-timeout", absl::GetFlag(FLAGS_step_timeout)));
  return CheckPositive("scheduler-timeout", absl::GetFlag(FLAGS_scheduler_timeout));
}

}  // namespace

absl::StatusOr<bool> ExpandsPrompts(absl::string_view prompt_attention,
                                    const kernels::Backend& backend) {
  if (prompt_attention == "auto") return backend.expands_prompts();
  if (prompt_attention == "absorbed" || backend.expands_prompts()) {
    return prompt_attention == "expanded";
  }
  return absl::InvalidArgumentError(
      "--prompt-attention=expanded: these kernels have the absorbed form alone");
}

int DefaultDevices(int num_ranks, int num_cores) { return num_cores < num_ranks ? 1 : num_ranks; }

absl::StatusOr<StageConfig> ReadStageConfig() {
  RETURN_IF_ERROR(CheckFlags());
  StageConfig config;
  config.server.role = "stage-worker";
  config.server.listen_address = absl::GetFlag(FLAGS_listen_address);
  config.server.metrics_address = absl::GetFlag(FLAGS_metrics_address);
  config.server.ports_file = absl::GetFlag(FLAGS_ports_file);
  config.server.drain_timeout = absl::GetFlag(FLAGS_drain_timeout);
  ASSIGN_OR_RETURN(config.server.identity, ReadRpcIdentity(config.server.role));
  StageOptions& stage = config.stage;
  stage.identity = config.server.identity;
  ASSIGN_OR_RETURN(config.place, ReadPodPlace([](const char* name) { return std::getenv(name); }));
  ASSIGN_OR_RETURN(stage.scheduler_address, SchedulerAddress(config.place));
  stage.model_loader_address = absl::GetFlag(FLAGS_model_loader);
  ASSIGN_OR_RETURN(stage.stage_index, StageIndex(config.place));
  stage.num_ranks = absl::GetFlag(FLAGS_tensor_parallel_size);
  stage.num_devices = absl::GetFlag(FLAGS_num_devices);
  ASSIGN_OR_RETURN(stage.backend, BackendName());
  if (stage.num_devices == 0) {
    stage.num_devices =
        stage.backend == "cuda" ? stage.num_ranks : DefaultDevices(stage.num_ranks, NumCores());
  }
  ASSIGN_OR_RETURN(stage.memory_bytes,
                   BytesFlag("memory-bytes", absl::GetFlag(FLAGS_memory_bytes)));
  ASSIGN_OR_RETURN(stage.kv_cache_bytes,
                   BytesFlag("kv-cache-memory-bytes", absl::GetFlag(FLAGS_kv_cache_memory_bytes)));
  ASSIGN_OR_RETURN(stage.constraint_bytes, ConstraintBytes());
  ASSIGN_OR_RETURN(stage.memory_utilization, UtilizationFlag());
  stage.packed_weights_folder = absl::GetFlag(FLAGS_packed_weights_dir);
  ASSIGN_OR_RETURN(stage.packed_weights_bytes, PackedWeightsBytes());
  stage.ucx_transports = absl::GetFlag(FLAGS_ucx_transports);
  stage.ucx_net_devices = absl::GetFlag(FLAGS_ucx_net_devices);
  stage.ucx_spin = absl::GetFlag(FLAGS_ucx_spin);
  ASSIGN_OR_RETURN(const uint64_t least_rate,
                   BytesFlag("least-link-rate", absl::GetFlag(FLAGS_least_link_rate)));
  stage.least_link_rate = static_cast<double>(least_rate);
  stage.step_timeout = absl::GetFlag(FLAGS_step_timeout);
  stage.scheduler_timeout = absl::GetFlag(FLAGS_scheduler_timeout);
  config.through_nccl = absl::GetFlag(FLAGS_disable_custom_all_reduce);
  ASSIGN_OR_RETURN(config.through_cublas, CublasFlag(stage.backend));
  config.enforce_eager = absl::GetFlag(FLAGS_enforce_eager);
  config.prompt_attention = absl::GetFlag(FLAGS_prompt_attention);
  RETURN_IF_ERROR(CheckPromptAttention(config.prompt_attention));
  config.cpu_variant = absl::GetFlag(FLAGS_cpu_variant);
  const int threads = absl::GetFlag(FLAGS_cpu_threads);
  stage.num_threads = threads > 0 ? threads : NumCores();
  config.num_threads_per_device = std::max(1, stage.num_threads / stage.num_devices);
  return config;
}

}  // namespace baton::stage
