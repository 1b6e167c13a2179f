#include "common/rpc/server_runtime.h"

#include <csignal>
#include <fstream>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "grpcpp/client_context.h"
#include "grpcpp/generic/generic_stub.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "prometheus/counter.h"
#include "prometheus/registry.h"

#include "common/rpc/channel.h"
#include "protos/baton/v1/loading.grpc.pb.h"
#include "tests/fakes/http_get.h"

namespace baton {
namespace {

// Answers GetModel; Load waits until the call is cancelled.
class OneCallService final : public v1::Loading::Service {
 public:
  grpc::Status GetModel(grpc::ServerContext*, const v1::GetModelRequest*,
                        v1::GetModelResponse*) override {
    return grpc::Status::OK;
  }
  grpc::Status Load(grpc::ServerContext* context, const v1::LoadRequest*,
                    grpc::ServerWriter<v1::LoadEvent>*) override {
    load_started.Notify();
    while (!context->IsCancelled()) absl::SleepFor(absl::Milliseconds(1));
    return grpc::Status::CANCELLED;
  }
  absl::Notification load_started;
};

ServerOptions Options() {
  ServerOptions options;
  options.role = "tester";
  options.listen_address = "127.0.0.1:0";
  options.metrics_address = "127.0.0.1:0";
  return options;
}

std::shared_ptr<grpc::Channel> Dial(const ServerRuntime& runtime) {
  return CreateChannel(absl::StrCat("127.0.0.1:", runtime.grpc_port()), "tester",
                       *RpcIdentity::Plaintext());
}

// Calls a unary method by name with raw bytes; returns the reply's bytes, or "error: ...".
std::string CallRaw(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                    const std::string& request) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(30)));
  context.set_wait_for_ready(true);
  grpc::Slice slice(request);
  const grpc::ByteBuffer buffer(&slice, 1);
  grpc::ByteBuffer reply;
  grpc::Status status;
  absl::Notification done;
  stub.UnaryCall(&context, method, {}, &buffer, &reply, [&](grpc::Status result) {
    status = std::move(result);
    done.Notify();
  });
  done.WaitForNotification();
  if (!status.ok()) return absl::StrCat("error: ", status.error_message());
  grpc::Slice bytes;
  reply.DumpToSingleSlice(&bytes);
  return {reinterpret_cast<const char*>(bytes.begin()), bytes.size()};
}

// grpc.health.v1 by its wire form: request {1: service}, reply {1: status}; 1 SERVING, 2 not.
int Health(const std::shared_ptr<grpc::Channel>& channel, const std::string& service) {
  const std::string request =
      service.empty() ? "" : std::string{'\x0a', static_cast<char>(service.size())} + service;
  const std::string reply = CallRaw(channel, "/grpc.health.v1.Health/Check", request);
  return reply.size() == 2 && reply[0] == '\x08' ? reply[1] : -1;
}

TEST(ServerRuntime, RefusesBadOptions) {
  ServerOptions options = Options();
  options.role = "";
  EXPECT_EQ(ServerRuntime::Create(options).status().code(), absl::StatusCode::kInvalidArgument);
  options = Options();
  options.listen_address = "50052";
  EXPECT_EQ(ServerRuntime::Create(options).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ServerRuntime, RaisesTheLimitOfOpenFiles) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit low = before;
  low.rlim_cur = 256;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  ASSERT_TRUE(ServerRuntime::Create(Options()).ok());
  rlimit after{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &after), 0);
  EXPECT_EQ(after.rlim_cur, before.rlim_max);
  setrlimit(RLIMIT_NOFILE, &before);
}

TEST(ServerRuntime, ServesCallsHealthReflectionAndMetrics) {
  OneCallService service;
  auto runtime = ServerRuntime::Create(Options());
  ASSERT_TRUE(runtime.ok()) << runtime.status();
  prometheus::BuildCounter().Name("baton_test_total").Register(*(*runtime)->registry()).Add({});
  (*runtime)->AddService(&service);
  ASSERT_TRUE((*runtime)->Start().ok());
  const auto channel = Dial(**runtime);

  v1::GetModelResponse response;
  grpc::ClientContext context;
  EXPECT_TRUE(v1::Loading::NewStub(channel)->GetModel(&context, {}, &response).ok());

  EXPECT_EQ(Health(channel, ""), 2);
  EXPECT_EQ(Health(channel, "baton.v1.Loading"), 2);
  EXPECT_EQ(HttpGet((*runtime)->metrics_port(), "/health/ready").code, 503);
  (*runtime)->SetReady(true);
  EXPECT_EQ(Health(channel, ""), 1);
  EXPECT_EQ(Health(channel, "baton.v1.Loading"), 1);
  EXPECT_EQ(HttpGet((*runtime)->metrics_port(), "/health/ready").code, 200);

  const std::string metrics = HttpGet((*runtime)->metrics_port(), "/metrics").body;
  EXPECT_TRUE(absl::StrContains(metrics, "baton_ready{role=\"tester\"} 1\n")) << metrics;
  EXPECT_TRUE(absl::StrContains(metrics, "baton_test_total 0\n")) << metrics;
}

TEST(ServerRuntime, ListsItsServicesByReflection) {
  OneCallService service;
  auto runtime = ServerRuntime::Create(Options());
  ASSERT_TRUE(runtime.ok()) << runtime.status();
  (*runtime)->AddService(&service);
  ASSERT_TRUE((*runtime)->Start().ok());
  // ServerReflectionRequest {7: list_services}; the only reply is matched by the names in it.
  const std::string reply =
      CallRaw(Dial(**runtime), "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
              std::string("\x3a\x01*", 3));
  EXPECT_TRUE(absl::StrContains(reply, "baton.v1.Loading")) << reply;
  EXPECT_TRUE(absl::StrContains(reply, "grpc.health.v1.Health")) << reply;
}

TEST(ServerRuntime, ReportsLiveness) {
  ServerOptions options = Options();
  options.live = [] { return absl::UnavailableError("the step loop hangs"); };
  auto runtime = ServerRuntime::Create(options);
  ASSERT_TRUE(runtime.ok()) << runtime.status();
  ASSERT_TRUE((*runtime)->Start().ok());
  const HttpReply reply = HttpGet((*runtime)->metrics_port(), "/health/live");
  EXPECT_EQ(reply.code, 503);
  EXPECT_EQ(reply.body, "the step loop hangs\n");
}

TEST(ServerRuntime, WritesItsPorts) {
  ServerOptions options = Options();
  options.ports_file = ::testing::TempDir() + "/server_runtime_ports.json";
  auto runtime = ServerRuntime::Create(options);
  ASSERT_TRUE(runtime.ok()) << runtime.status();
  (*runtime)->AddPort("http", 8000);
  ASSERT_TRUE((*runtime)->Start().ok());
  std::ifstream file(options.ports_file);
  const nlohmann::json ports = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  EXPECT_EQ(ports.at("http"), 8000);
  EXPECT_EQ(ports.at("grpc"), (*runtime)->grpc_port());
  EXPECT_EQ(ports.at("metrics"), (*runtime)->metrics_port());
}

TEST(ServerRuntime, RefusesATakenPort) {
  auto first = ServerRuntime::Create(Options());
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE((*first)->Start().ok());
  ServerOptions options = Options();
  options.listen_address = absl::StrCat("127.0.0.1:", (*first)->grpc_port());
  auto second = ServerRuntime::Create(options);
  ASSERT_TRUE(second.ok()) << second.status();
  const absl::Status status = (*second)->Start();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(absl::StrContains(status.message(), options.listen_address)) << status;
}

TEST(ServerRuntime, DrainsOnceOnASignal) {
  auto runtime = ServerRuntime::Create(Options());
  ASSERT_TRUE(runtime.ok()) << runtime.status();
  ASSERT_TRUE((*runtime)->Start().ok());
  (*runtime)->SetReady(true);
  kill(getpid(), SIGTERM);
  int drains = 0;
  EXPECT_TRUE((*runtime)
                  ->RunUntilShutdown([&](absl::Time deadline) {
                    EXPECT_FALSE((*runtime)->ready());
                    EXPECT_GT(deadline, absl::Now());
                    ++drains;
                  })
                  .ok());
  EXPECT_EQ(drains, 1);
}

TEST(ServerRuntime, CancelsCallsThatStayOpen) {
  OneCallService service;
  auto runtime = ServerRuntime::Create(Options());
  ASSERT_TRUE(runtime.ok()) << runtime.status();
  (*runtime)->AddService(&service);
  ASSERT_TRUE((*runtime)->Start().ok());
  grpc::ClientContext context;
  auto reader = v1::Loading::NewStub(Dial(**runtime))->Load(&context, {});
  service.load_started.WaitForNotification();
  (*runtime)->RequestShutdown("test");
  EXPECT_TRUE((*runtime)->RunUntilShutdown(nullptr).ok());
  v1::LoadEvent event;
  EXPECT_FALSE(reader->Read(&event));
  EXPECT_FALSE(reader->Finish().ok());
}

TEST(ServerRuntime, SecondSignalSkipsTheDrain) {
  OneCallService service;
  auto runtime = ServerRuntime::Create(Options());
  ASSERT_TRUE(runtime.ok()) << runtime.status();
  (*runtime)->AddService(&service);
  ASSERT_TRUE((*runtime)->Start().ok());
  grpc::ClientContext context;
  auto reader = v1::Loading::NewStub(Dial(**runtime))->Load(&context, {});
  service.load_started.WaitForNotification();
  (*runtime)->RequestShutdown("first");
  // A drain that waits for the open call: only the second signal, which cancels it, ends the wait.
  EXPECT_TRUE((*runtime)
                  ->RunUntilShutdown([&](absl::Time) {
                    kill(getpid(), SIGINT);
                    v1::LoadEvent event;
                    EXPECT_FALSE(reader->Read(&event));
                  })
                  .ok());
  EXPECT_FALSE(reader->Finish().ok());
}

}  // namespace
}  // namespace baton
