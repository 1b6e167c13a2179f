#include "services/model_loader/loader_config.h"

#include <string>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"

ABSL_FLAG(std::string, model, "", "folder of the checkpoint: config.json and safetensors files");
ABSL_FLAG(std::string, listen_address, "127.0.0.1:50054", "gRPC address; port 0: any free one");
ABSL_FLAG(std::string, metrics_address, "127.0.0.1:9094",
          "address of /metrics and /health; port 0: any free one; empty: none");
ABSL_FLAG(std::string, ports_file, "", "file to write the bound ports to, as JSON");
ABSL_FLAG(absl::Duration, drain_timeout, absl::Seconds(30),
          "how long loads may go on after SIGTERM");
ABSL_FLAG(int, read_threads, 4, "reads at a time");
ABSL_FLAG(int, read_mib, 2,
          "MiB of one read: small enough that what is read stays in the CPU's cache");
ABSL_FLAG(absl::Duration, read_deadline, absl::Seconds(30), "time that one read may take");
ABSL_FLAG(int, read_attempts, 3, "tries of one read before the load fails");
ABSL_FLAG(bool, follow_links, false,
          "accept model files that are symbolic links, as in Hugging Face's cache");
ABSL_FLAG(absl::Duration, connect_deadline, absl::Seconds(10),
          "time to reach a stage-worker over UCX");
ABSL_FLAG(absl::Duration, send_deadline, absl::Seconds(30),
          "a stage-worker that takes nothing for so long is lost");
ABSL_FLAG(int, max_concurrent_loads, 16, "loads at a time; more are refused");
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
  RETURN_IF_ERROR(CheckRange("read-threads", absl::GetFlag(FLAGS_read_threads), 1, 256));
  RETURN_IF_ERROR(CheckRange("read-mib", absl::GetFlag(FLAGS_read_mib), 1, kMaxReadMib));
  RETURN_IF_ERROR(CheckRange("read-attempts", absl::GetFlag(FLAGS_read_attempts), 1, 100));
  RETURN_IF_ERROR(
      CheckRange("max-concurrent-loads", absl::GetFlag(FLAGS_max_concurrent_loads), 1, kMaxLoads));
  RETURN_IF_ERROR(CheckPositive("read-deadline", absl::GetFlag(FLAGS_read_deadline)));
  RETURN_IF_ERROR(CheckPositive("connect-deadline", absl::GetFlag(FLAGS_connect_deadline)));
  return CheckPositive("send-deadline", absl::GetFlag(FLAGS_send_deadline));
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
  config.folder.path = absl::GetFlag(FLAGS_model);
  config.folder.follow_links = absl::GetFlag(FLAGS_follow_links);
  config.reader.num_threads = absl::GetFlag(FLAGS_read_threads);
  config.reader.read_deadline = absl::GetFlag(FLAGS_read_deadline);
  config.reader.max_attempts = absl::GetFlag(FLAGS_read_attempts);
  config.reader.buffer_bytes = static_cast<size_t>(absl::GetFlag(FLAGS_read_mib)) << 20;
  config.transport.name = "model-loader";
  config.transport.transports = absl::GetFlag(FLAGS_ucx_transports);
  config.transport.net_devices = absl::GetFlag(FLAGS_ucx_net_devices);
  config.load.num_threads = config.reader.num_threads;
  config.load.job_bytes = config.reader.buffer_bytes;
  config.load.connect_deadline = absl::GetFlag(FLAGS_connect_deadline);
  config.load.send_deadline = absl::GetFlag(FLAGS_send_deadline);
  config.max_concurrent_loads = static_cast<size_t>(absl::GetFlag(FLAGS_max_concurrent_loads));
  return config;
}

}  // namespace baton::loader
