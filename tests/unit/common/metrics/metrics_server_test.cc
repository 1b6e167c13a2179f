#include "common/metrics/metrics_server.h"

#include <atomic>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "prometheus/gauge.h"
#include "prometheus/registry.h"

#include "tests/fakes/http_get.h"

namespace baton {
namespace {

using ::testing::HasSubstr;

MetricsServerOptions Options() {
  MetricsServerOptions options;
  options.address = "127.0.0.1:0";
  options.registry = std::make_shared<prometheus::Registry>();
  return options;
}

TEST(MetricsServer, ServesRegistryAndResources) {
  MetricsServerOptions options = Options();
  const auto registry = std::make_shared<prometheus::Registry>();
  prometheus::BuildGauge().Name("baton_blocks_free").Register(*registry).Add({}).Set(12);
  options.registry = registry;
  auto server = MetricsServer::Create(options);
  ASSERT_TRUE(server.ok()) << server.status();
  const HttpReply reply = HttpGet((*server)->port(), "/metrics");
  EXPECT_EQ(reply.code, 200);
  EXPECT_THAT(reply.header, HasSubstr("text/plain; version=0.0.4"));
  EXPECT_THAT(reply.body, HasSubstr("baton_blocks_free 12\n"));
  EXPECT_THAT(reply.body, HasSubstr("process_resident_memory_bytes "));
}

TEST(MetricsServer, AnswersHealthFromItsChecks) {
  MetricsServerOptions options = Options();
  std::atomic<bool> ready{false};
  options.ready = [&] {
    return ready ? absl::OkStatus() : absl::UnavailableError("stage 1 is missing");
  };
  auto server = MetricsServer::Create(options);
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ(HttpGet((*server)->port(), "/health/live").code, 200);
  const HttpReply not_ready = HttpGet((*server)->port(), "/health/ready");
  EXPECT_EQ(not_ready.code, 503);
  EXPECT_EQ(not_ready.body, "stage 1 is missing\n");
  ready = true;
  EXPECT_EQ(HttpGet((*server)->port(), "/health/ready").code, 200);
}

TEST(MetricsServer, KnowsNoOtherPath) {
  auto server = MetricsServer::Create(Options());
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ(HttpGet((*server)->port(), "/etc/passwd").code, 404);
  EXPECT_EQ(HttpGet((*server)->port(), "/metrics/x").code, 404);
}

TEST(MetricsServer, RefusesATakenPort) {
  auto first = MetricsServer::Create(Options());
  ASSERT_TRUE(first.ok()) << first.status();
  MetricsServerOptions options = Options();
  options.address = absl::StrCat("127.0.0.1:", (*first)->port());
  const absl::Status status = MetricsServer::Create(options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr(options.address));
}

TEST(MetricsServer, RefusesAnAddressWithoutPort) {
  for (const char* address : {"127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536"}) {
    MetricsServerOptions options = Options();
    options.address = address;
    EXPECT_EQ(MetricsServer::Create(options).status().code(), absl::StatusCode::kInvalidArgument)
        << address;
  }
}

}  // namespace
}  // namespace baton
