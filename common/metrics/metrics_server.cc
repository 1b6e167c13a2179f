#include "common/metrics/metrics_server.h"

#include <utility>

#include "absl/strings/str_cat.h"

#include "common/metrics/exposition.h"
#include "common/metrics/resource_usage.h"
#include "common/metrics/small_http_server.h"
#include "common/status/status_macros.h"

namespace baton {
namespace {

SmallHttpReply Health(const std::function<absl::Status()>& check) {
  const absl::Status status = check ? check() : absl::OkStatus();
  if (status.ok()) return {200, "text/plain", "ok\n"};
  return {503, "text/plain", absl::StrCat(status.message(), "\n")};
}

SmallHttpReply AnswerTo(const MetricsServerOptions& options, const std::string& path) {
  if (path == "/health/live") return Health(options.live);
  if (path == "/health/ready") return Health(options.ready);
  if (path != "/metrics") return {404, "text/plain", "no such page\n"};
  std::string text = RenderMetrics(ResourceUsage());
  if (options.registry != nullptr) absl::StrAppend(&text, RenderMetrics(*options.registry));
  return {200, std::string(kMetricsContentType), std::move(text)};
}

class HttpMetricsServer final : public MetricsServer {
 public:
  explicit HttpMetricsServer(std::unique_ptr<SmallHttpServer> http) : http_(std::move(http)) {}
  int port() const override { return http_->port(); }

 private:
  const std::unique_ptr<SmallHttpServer> http_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Create(MetricsServerOptions options) {
  const std::string address = options.address;
  auto http = SmallHttpServer::Create(
      address,
      [options = std::move(options)](const std::string& path) { return AnswerTo(options, path); });
  if (!http.ok()) return Annotate(http.status(), "metrics endpoint");
  return std::make_unique<HttpMetricsServer>(*std::move(http));
}

}  // namespace baton
