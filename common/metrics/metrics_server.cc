#include "common/metrics/metrics_server.h"

#include <array>
#include <civetweb.h>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "common/log/log.h"
#include "common/metrics/exposition.h"
#include "common/metrics/resource_usage.h"
#include "common/status/status_macros.h"

namespace baton {
namespace {

constexpr const char* kThreads = "2";
constexpr const char* kRequestTimeoutMs = "5000";

int LogServerMessage(const mg_connection*, const char* message) {
  BATON_LOG(WARNING) << "metrics endpoint: " << message;
  return 1;
}

void Reply(mg_connection* connection, int code, absl::string_view type, absl::string_view body) {
  const std::string reply =
      absl::StrCat("HTTP/1.1 ", code,
                   code == 200   ? " OK"
                   : code == 503 ? " Service Unavailable"
                                 : " Error",
                   "\r\nContent-Type: ", type, "\r\nContent-Length: ", body.size(),
                   "\r\nConnection: close\r\n\r\n", body);
  mg_write(connection, reply.data(), reply.size());
}

class CivetMetricsServer final : public MetricsServer {
 public:
  explicit CivetMetricsServer(MetricsServerOptions options) : options_(std::move(options)) {}
  ~CivetMetricsServer() override {
    if (context_ != nullptr) mg_stop(context_);
  }

  absl::Status Start() {
    int wanted_port = 0;
    const size_t colon = options_.address.rfind(':');
    if (colon == std::string::npos ||
        !absl::SimpleAtoi(options_.address.substr(colon + 1), &wanted_port) || wanted_port < 0 ||
        wanted_port > 65535)
      return absl::InvalidArgumentError(
          absl::StrCat("metrics address \"", options_.address, "\" is not host:port"));
    mg_callbacks callbacks{};
    callbacks.log_message = LogServerMessage;
    const std::string listen = ListenSpec(options_.address.substr(0, colon), wanted_port);
    const std::array<const char*, 9> settings{
        "listening_ports", listen.c_str(),      "num_threads", kThreads, "request_timeout_ms",
        kRequestTimeoutMs, "enable_keep_alive", "no",          nullptr};
    context_ = mg_start(&callbacks, this, const_cast<const char**>(settings.data()));
    if (context_ == nullptr)
      return absl::UnavailableError(
          absl::StrCat("cannot serve metrics on ", options_.address, ": address in use?"));
    mg_server_port bound{};
    if (mg_get_server_ports(context_, 1, &bound) != 1)
      return absl::InternalError("the metrics endpoint has no port");
    port_ = bound.port;
    mg_set_request_handler(context_, "/metrics$", OnMetrics, this);
    mg_set_request_handler(context_, "/health/live$", OnLive, this);
    mg_set_request_handler(context_, "/health/ready$", OnReady, this);
    return absl::OkStatus();
  }

  int port() const override { return port_; }

 private:
  // civetweb takes "host:port" only with a numeric host; an empty one is every interface.
  static std::string ListenSpec(absl::string_view host, int port) {
    if (host == "localhost") host = "127.0.0.1";
    if (host.empty() || host == "0.0.0.0") return absl::StrCat(port);
    return absl::StrCat(host, ":", port);
  }

  static int OnMetrics(mg_connection* connection, void* self) {
    const auto* server = static_cast<CivetMetricsServer*>(self);
    std::string text = RenderMetrics(ResourceUsage());
    if (server->options_.registry != nullptr)
      absl::StrAppend(&text, RenderMetrics(*server->options_.registry));
    Reply(connection, 200, kMetricsContentType, text);
    return 1;
  }
  static int OnLive(mg_connection* connection, void* self) {
    return ReplyHealth(connection, static_cast<CivetMetricsServer*>(self)->options_.live);
  }
  static int OnReady(mg_connection* connection, void* self) {
    return ReplyHealth(connection, static_cast<CivetMetricsServer*>(self)->options_.ready);
  }
  static int ReplyHealth(mg_connection* connection, const std::function<absl::Status()>& check) {
    const absl::Status status = check ? check() : absl::OkStatus();
    if (status.ok())
      Reply(connection, 200, "text/plain", "ok\n");
    else
      Reply(connection, 503, "text/plain", absl::StrCat(status.message(), "\n"));
    return 1;
  }

  const MetricsServerOptions options_;
  mg_context* context_ = nullptr;
  int port_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Create(MetricsServerOptions options) {
  auto server = std::make_unique<CivetMetricsServer>(std::move(options));
  RETURN_IF_ERROR(server->Start());
  return server;
}

}  // namespace baton
