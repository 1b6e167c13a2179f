#include "services/model_loader/loader_server.h"

#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "grpcpp/client_context.h"
#include "gtest/gtest.h"
#include "prometheus/registry.h"

#include "common/rpc/channel.h"
#include "common/rpc/peer.h"
#include "protos/baton/v1/loading.grpc.pb.h"
#include "tests/fakes/checkpoint_writer.h"

namespace baton::loader {
namespace {

class LoaderServerTest : public ::testing::Test {
 protected:
  LoaderServerTest() : folder_("loader_server") {
    const std::string json = testing::SmallConfigJson();
    testing::WriteCheckpoint(folder_.path(), json,
                             testing::RandomTensors(ParseModelConfig(json).value(), 3), 2);
    config_.server.role = "model-loader";
    config_.server.listen_address = "127.0.0.1:0";
    config_.folder.path = folder_.path();
    config_.storage = "a disk";
    config_.transport = {.name = "model-loader", .transports = "tcp"};
    runtime_ = ServerRuntime::Create(config_.server).value();
  }

  absl::StatusOr<std::unique_ptr<LoaderServer>> Create() const {
    return LoaderServer::Create(config_, runtime_.get());
  }
  // Of a gauge without labels.
  double Gauge(const std::string& name) const {
    for (const prometheus::MetricFamily& family : runtime_->registry()->Collect())
      if (family.name == name && !family.metric.empty()) return family.metric.front().gauge.value;
    ADD_FAILURE() << "no " << name;
    return -1;
  }

  testing::TempFolder folder_;
  LoaderConfig config_;
  std::unique_ptr<ServerRuntime> runtime_;
};

// A server that runs on a thread of its own until it is asked to end. It serves when the
// constructor is done, or has failed.
class RunningServer {
 public:
  RunningServer(LoaderServer* server, ServerRuntime* runtime)
      : runtime_(*runtime), thread_([this, server] {
          status_ = server->Run();
          ended_.Notify();
        }) {
    const absl::Time limit = absl::Now() + absl::Seconds(30);
    while (!runtime_.ready() && absl::Now() < limit)
      if (ended_.WaitForNotificationWithTimeout(absl::Milliseconds(1))) return;
  }
  ~RunningServer() {
    if (thread_.joinable()) static_cast<void>(End());
  }
  absl::Status End() {
    runtime_.RequestShutdown("the test is done");
    thread_.join();
    return status_;
  }

 private:
  ServerRuntime& runtime_;
  absl::Status status_;
  absl::Notification ended_;
  std::thread thread_;
};

TEST_F(LoaderServerTest, ServesItsModelUntilItIsAskedToEnd) {
  auto server = Create();
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_FALSE(runtime_->ready());
  RunningServer running(server->get(), runtime_.get());
  ASSERT_TRUE(runtime_->ready());
  const auto stub =
      v1::Loading::NewStub(CreateChannel(absl::StrCat("127.0.0.1:", runtime_->grpc_port()),
                                         "model-loader", *RpcIdentity::Plaintext()));
  v1::GetModelRequest request;
  *request.mutable_peer() = MakePeerInfo("stage-worker");
  v1::GetModelResponse response;
  grpc::ClientContext context;
  const grpc::Status called = stub->GetModel(&context, request, &response);
  EXPECT_TRUE(called.ok()) << called.error_message();
  EXPECT_EQ(response.model_fingerprint(), (*server)->model().fingerprint);
  EXPECT_EQ(response.total_bytes(), (*server)->model().checkpoint->total_bytes());
  EXPECT_TRUE(running.End().ok());
  EXPECT_FALSE(runtime_->ready());
  EXPECT_EQ((*server)->num_stuck_reads(), 0);
}

TEST_F(LoaderServerTest, MeasuresItsModel) {
  const auto server = Create();
  ASSERT_TRUE(server.ok()) << server.status();
  const Checkpoint& checkpoint = *(*server)->model().checkpoint;
  EXPECT_EQ(Gauge("baton_loader_model_bytes"), static_cast<double>(checkpoint.total_bytes()));
  EXPECT_EQ(Gauge("baton_loader_model_tensors"), static_cast<double>(checkpoint.tensors().size()));
  EXPECT_EQ(Gauge("baton_loader_model_files"),
            static_cast<double>(checkpoint.folder().num_files()));
}

TEST_F(LoaderServerTest, RefusesAModelThatIsNotAllThere) {
  config_.folder.path = folder_.File("nowhere");
  EXPECT_EQ(Create().status().code(), absl::StatusCode::kNotFound);
  config_.folder.path = folder_.path();
  const std::string shard = folder_.File("model-2.safetensors");
  const std::string whole = testing::ReadFile(shard);
  ASSERT_FALSE(whole.empty());
  testing::WriteFile(shard, whole.substr(0, whole.size() - 1));
  const absl::Status status = Create().status();
  EXPECT_FALSE(status.ok());
  EXPECT_TRUE(absl::StrContains(status.message(), "model-2.safetensors")) << status;
}

TEST_F(LoaderServerTest, RefusesReadsAndTransportsThatCannotBe) {
  config_.reader.num_threads = 0;
  EXPECT_EQ(Create().status().code(), absl::StatusCode::kInvalidArgument);
  config_.reader.num_threads = 1;
  config_.transport.transports = "carrier_pigeon";
  const absl::Status status = Create().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(status.message(), "carrier_pigeon")) << status;
}

}  // namespace
}  // namespace baton::loader
