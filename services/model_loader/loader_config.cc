#include "services/model_loader/loader_config.h"

#include <string>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"

#include "common/rpc/identity_flags.h"
#include "common/status/status_macros.h"
#include "protos/baton/v1/loading.grpc.pb.h"
#include "services/model_loader/source/mount_facts.h"

ABSL_FLAG(std::string, model, "", "folder of the checkpoint: config.json and safetensors files");
ABSL_FLAG(std::string, listen_address, "127.0.0.1:50054", "gRPC address; port 0: any free one");
ABSL_FLAG(std::string, metrics_address, "127.0.0.1:9094",
          "address of /metrics and /health; port 0: any free one; empty: none");
ABSL_FLAG(std::string, ports_file, "", "file to write the bound ports to, as JSON");
ABSL_FLAG(absl::Duration, drain_timeout, absl::Seconds(30),
          "how long loads may go on after SIGTERM");
ABSL_FLAG(int, read_threads, 0,
          "reads at a time; 0: as suits the storage (4, 12 if it is elsewhere)");
ABSL_FLAG(int, read_mib, 0,
          "MiB of one read; 0: as suits the storage (2, which stays in the CPU's cache; 8 if it is "
          "elsewhere)");
ABSL_FLAG(absl::Duration, read_deadline, absl::Seconds(30), "time that one read may take");
ABSL_FLAG(int, read_attempts, 3, "tries of one read before the load fails");
ABSL_FLAG(bool, follow_links, false,
          "accept model files that are symbolic links, as in Hugging Face's cache");
ABSL_FLAG(absl::Duration, connect_deadline, absl::Seconds(10),
          "time to reach a stage-worker over UCX");
ABSL_FLAG(absl::Duration, send_deadline, absl::Seconds(30),
          "a stage-worker that takes nothing for so long is lost");
ABSL_FLAG(int, max_concurrent_loads, 16, "loads at a time; more are refused");
ABSL_FLAG(bool, lend_memory, true,
          "let stage-workers of this machine copy weights out of this process's memory; where only "
          "parents may trace (Yama), the first load, of whatever machine's worker, allows all "
          "processes of this user to");
ABSL_FLAG(std::string, ucx_transports, "",
          "UCX transports: \"tcp\", \"sm\"; empty: what UCX_TLS says, else all");
ABSL_FLAG(std::string, ucx_net_devices, "",
          "network devices for UCX: \"eth0\", \"mlx5_0:1\"; empty: what UCX_NET_DEVICES says");

namespace baton::loader {
namespace {

constexpr int kMaxReadMib = 256;
constexpr int kMaxLoads = 1024;

absl::Status CheckRange(absl::string_view flag, int value, int min, int max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--", flag, " is ", value, "; wanted ", min, " to ", max));
}

absl::Status CheckPositive(absl::string_view flag, absl::Duration value) {
  if (value > absl::ZeroDuration()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--", flag, " is ", absl::FormatDuration(value), "; wanted more than 0"));
}

absl::Status CheckFlags() {
  if (absl::GetFlag(FLAGS_model).empty()) {
    return absl::InvalidArgumentError("--model is missing: the folder of the checkpoint");
  }
  RETURN_IF_ERROR(CheckRange("read-threads", absl::GetFlag(FLAGS_read_threads), 0, 256));
  RETURN_IF_ERROR(CheckRange("read-mib", absl::GetFlag(FLAGS_read_mib), 0, kMaxReadMib));
  RETURN_IF_ERROR(CheckRange("read-attempts", absl::GetFlag(FLAGS_read_attempts), 1, 100));
  RETURN_IF_ERROR(
      CheckRange("max-concurrent-loads", absl::GetFlag(FLAGS_max_concurrent_loads), 1, kMaxLoads));
  RETURN_IF_ERROR(CheckPositive("read-deadline", absl::GetFlag(FLAGS_read_deadline)));
  RETURN_IF_ERROR(CheckPositive("connect-deadline", absl::GetFlag(FLAGS_connect_deadline)));
  return CheckPositive("send-deadline", absl::GetFlag(FLAGS_send_deadline));
}

// What the flags leave open, by where the model lies. A folder that is not there is told when it is
// opened.
void ChooseReads(LoaderConfig* config) {
  const absl::StatusOr<MountFacts> mount = FindMountOf(config->folder.path);
  const ReadShape best = BestReads(mount.ok() ? mount->kind : StorageKind::kLocal);
  const int threads = absl::GetFlag(FLAGS_read_threads);
  const int mebibytes = absl::GetFlag(FLAGS_read_mib);
  config->reader.num_threads = threads != 0 ? threads : best.num_threads;
  config->reader.buffer_bytes = static_cast<size_t>(mebibytes != 0 ? mebibytes : best.mebibytes)
                                << 20;
  config->storage = mount.ok() ? Describe(*mount) : "storage of an unknown kind";
}

}  // namespace

absl::StatusOr<LoaderConfig> ReadLoaderConfig() {
  RETURN_IF_ERROR(CheckFlags());
  LoaderConfig config;
  config.server.role = "model-loader";
  config.server.listen_address = absl::GetFlag(FLAGS_listen_address);
  config.server.metrics_address = absl::GetFlag(FLAGS_metrics_address);
  config.server.ports_file = absl::GetFlag(FLAGS_ports_file);
  config.server.drain_timeout = absl::GetFlag(FLAGS_drain_timeout);
  ASSIGN_OR_RETURN(config.server.identity, ReadRpcIdentity(config.server.role));
  config.server.callers = {{v1::Loading::service_full_name(), {"stage-worker"}}};
  config.folder.path = absl::GetFlag(FLAGS_model);
  config.folder.follow_links = absl::GetFlag(FLAGS_follow_links);
  config.reader.read_deadline = absl::GetFlag(FLAGS_read_deadline);
  config.reader.max_attempts = absl::GetFlag(FLAGS_read_attempts);
  ChooseReads(&config);
  config.transport.name = "model-loader";
  config.transport.transports = absl::GetFlag(FLAGS_ucx_transports);
  config.transport.net_devices = absl::GetFlag(FLAGS_ucx_net_devices);
  config.load.num_threads = config.reader.num_threads;
  config.load.job_bytes = config.reader.buffer_bytes;
  config.load.lend_memory = absl::GetFlag(FLAGS_lend_memory);
  config.load.connect_deadline = absl::GetFlag(FLAGS_connect_deadline);
  config.load.send_deadline = absl::GetFlag(FLAGS_send_deadline);
  config.max_concurrent_loads = static_cast<size_t>(absl::GetFlag(FLAGS_max_concurrent_loads));
  return config;
}

}  // namespace baton::loader
