#include "common/transport/ucx_worker.h"

#include <cstdlib>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "ucs/config/global_opts.h"

#include "common/status/status_macros.h"

namespace baton {
namespace {

struct ConfigRelease {
  void operator()(ucp_config_t* config) const { ucp_config_release(config); }
};
using Config = std::unique_ptr<ucp_config_t, ConfigRelease>;

// Payloads up to this length travel with their header (one copy at each end); longer ones are
// fetched into their slot. Also bounds what UCX buffers of a frame that nobody has accepted.
constexpr char kRendezvousThreshold[] = "32k";

// How often UCX looks whether idle partners live. Shared memory has no other sign of a death.
constexpr char kKeepaliveInterval[] = "1s";

absl::Status Modify(ucp_config_t* config, const char* name, const std::string& value) {
  return FromUcxStatus(ucp_config_modify(config, name, value.c_str()),
                       absl::StrCat("UCX refuses ", name, "=", value));
}

// Leaves what the environment says.
absl::Status SetDefault(ucp_config_t* config, const char* name, const std::string& value) {
  if (std::getenv(absl::StrCat("UCX_", name).c_str()) != nullptr) return absl::OkStatus();
  return Modify(config, name, value);
}

absl::StatusOr<Config> ReadConfig(const TransportOptions& options) {
  ucp_config_t* raw = nullptr;
  RETURN_IF_ERROR(
      FromUcxStatus(ucp_config_read(nullptr, nullptr, &raw), "reading UCX's environment"));
  Config config(raw);
  if (!options.transports.empty()) {
    RETURN_IF_ERROR(Modify(config.get(), "TLS", options.transports));
  }
  if (!options.net_devices.empty()) {
    RETURN_IF_ERROR(Modify(config.get(), "NET_DEVICES", options.net_devices));
  }
  RETURN_IF_ERROR(SetDefault(config.get(), "RNDV_THRESH", kRendezvousThreshold));
  RETURN_IF_ERROR(SetDefault(config.get(), "KEEPALIVE_INTERVAL", kKeepaliveInterval));
  return config;
}

}  // namespace

absl::Status FromUcxStatus(ucs_status_t status, absl::string_view what) {
  if (status == UCS_OK) return absl::OkStatus();
  const std::string message = absl::StrCat(what, ": ", ucs_status_string(status));
  switch (status) {
    case UCS_ERR_CONNECTION_RESET:
    case UCS_ERR_ENDPOINT_TIMEOUT:
    case UCS_ERR_UNREACHABLE:
    case UCS_ERR_NOT_CONNECTED:
    case UCS_ERR_CANCELED:
    case UCS_ERR_IO_ERROR:
    case UCS_ERR_REJECTED:
    case UCS_ERR_TIMED_OUT:
      return absl::UnavailableError(message);
    case UCS_ERR_INVALID_ADDR:
    case UCS_ERR_INVALID_PARAM:
      return absl::InvalidArgumentError(message);
    case UCS_ERR_NO_MEMORY:
    case UCS_ERR_NO_RESOURCE:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::InternalError(message);
  }
}

void PrepareTransportEnvironment() {
  // Only the environment reaches these settings of UCX 1.13. Without them shared memory refuses
  // connections that must tell of a partner's death.
  setenv("UCX_POSIX_ERROR_HANDLING", "y", /*overwrite=*/0);
  setenv("UCX_SYSV_ERROR_HANDLING", "y", /*overwrite=*/0);
  // A sender that finds the ring full has to poll until there is room again. UCX's 64 places make
  // that the rule in a weight transfer: 20,000 chunks of 2 KiB took 2.06 s of processor time with
  // 64 and 0.07 s with 1024. Costs 8.5 MB of shared memory per transport, touched when used.
  setenv("UCX_POSIX_FIFO_SIZE", "1024", /*overwrite=*/0);
  setenv("UCX_SYSV_FIFO_SIZE", "1024", /*overwrite=*/0);
  // A payload is cut into frames of this length over TCP: 64 KiB if nobody says. Longer ones mean
  // fewer system calls and fewer threads woken for a weight chunk (tests/bench/loader_bench over
  // loopback: 0.84 s of processors per GB with 64 KiB, 0.73 s with 1 MiB). Costs 1 MiB at the
  // receiver for each connection over which something is coming in. Must be the same at both ends:
  // UCX ends the process of a receiver at a frame longer than its own.
  setenv("UCX_TCP_RX_SEG_SIZE", "1m", /*overwrite=*/0);
  // UCX waits in connect() if nobody says otherwise: two minutes for a host that answers nothing,
  // in which no other connection gets on. And it ends the process if its partner goes just after
  // that has returned (tcp_ep.c, CTX_TYPE_TX): 1 of some 500 loads whose worker cancels and goes.
  setenv("UCX_TCP_CONN_NB", "y", /*overwrite=*/0);
  // Where tcp alone is in use they are not: no reason to warn.
  ucs_global_opts.warn_unused_env_vars = 0;
}

absl::StatusOr<std::unique_ptr<UcxWorker>> UcxWorker::Create(const TransportOptions& options) {
  static std::once_flag prepared;
  std::call_once(prepared, PrepareTransportEnvironment);
  std::unique_ptr<UcxWorker> worker(new UcxWorker());
  if (absl::Status status = worker->Init(options); !status.ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat("UCX cannot start with transports \"", options.transports, "\" on devices \"",
                     options.net_devices, "\" (empty: all): ", status.message()));
  }
  return worker;
}

absl::Status UcxWorker::Init(const TransportOptions& options) {
  ASSIGN_OR_RETURN(const Config config, ReadConfig(options));
  ucp_params_t params = {};
  params.field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_NAME;
  params.features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP;
  params.name = options.name.c_str();
  RETURN_IF_ERROR(FromUcxStatus(ucp_init(&params, config.get(), &context_), "ucp_init"));

  ucp_worker_params_t worker_params = {};
  worker_params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
  worker_params.thread_mode = UCS_THREAD_MODE_SERIALIZED;
  RETURN_IF_ERROR(
      FromUcxStatus(ucp_worker_create(context_, &worker_params, &worker_), "ucp_worker_create"));
  RETURN_IF_ERROR(FromUcxStatus(ucp_worker_get_efd(worker_, &event_fd_),
                                "the transports cannot wake a sleeping thread"));

  ucp_worker_attr_t attributes = {};
  attributes.field_mask = UCP_WORKER_ATTR_FIELD_ADDRESS | UCP_WORKER_ATTR_FIELD_MAX_AM_HEADER;
  RETURN_IF_ERROR(FromUcxStatus(ucp_worker_query(worker_, &attributes), "ucp_worker_query"));
  address_.assign(reinterpret_cast<const char*>(attributes.address), attributes.address_length);
  ucp_worker_release_address(worker_, attributes.address);
  if (address_.size() > kMaxAddressBytes) {
    return absl::FailedPreconditionError(
        absl::StrCat("UCX's address has ", address_.size(), " bytes; name fewer network devices"));
  }
  if (attributes.max_am_header < kFrameHeaderBytes) {
    return absl::FailedPreconditionError(
        absl::StrCat("headers may have ", attributes.max_am_header, " bytes only"));
  }
  return absl::OkStatus();
}

UcxWorker::~UcxWorker() {
  if (worker_ != nullptr) ucp_worker_destroy(worker_);
  if (context_ != nullptr) ucp_cleanup(context_);
}

}  // namespace baton
