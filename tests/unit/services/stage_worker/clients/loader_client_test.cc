#include "services/stage_worker/clients/loader_client.h"

#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "common/model/model_config.h"
#include "common/rpc/peer.h"
#include "common/rpc/server_runtime.h"

namespace baton::stage {
namespace {

std::string TinyConfigJson() {
  std::ifstream file(BATON_SOURCE_DIR "/tests/data/tiny-r1/config.json");
  return {std::istreambuf_iterator<char>(file), {}};
}

using Events = grpc::ServerWriter<v1::LoadEvent>;

// A loader that says what a test wants.
class ScriptedLoader final : public v1::Loading::Service {
 public:
  v1::GetModelResponse model;
  std::function<grpc::Status(grpc::ServerContext*, Events*)> load;

  grpc::Status GetModel(grpc::ServerContext*, const v1::GetModelRequest*,
                        v1::GetModelResponse* response) override {
    *response = model;
    return grpc::Status::OK;
  }
  grpc::Status Load(grpc::ServerContext* context, const v1::LoadRequest*, Events* events) override {
    return load(context, events);
  }
};

class LoaderClientTest : public ::testing::Test {
 protected:
  LoaderClientTest() {
    loader_.model.set_config_json(TinyConfigJson());
    loader_.model.set_model_fingerprint(ModelFingerprint(loader_.model.config_json()));
    *loader_.model.mutable_peer() = MakePeerInfo("model-loader");
    runtime_ =
        ServerRuntime::Create({.role = "model-loader", .listen_address = "127.0.0.1:0"}).value();
    runtime_->AddService(&loader_);
    EXPECT_TRUE(runtime_->Start().ok());
    client_ = std::make_unique<LoaderClient>(absl::StrCat("127.0.0.1:", runtime_->grpc_port()),
                                             *RpcIdentity::Plaintext());
  }
  absl::StatusOr<ServedModel> GetModel() {
    return client_->GetModel(absl::Now() + absl::Seconds(30));
  }

  ScriptedLoader loader_;
  std::unique_ptr<ServerRuntime> runtime_;
  std::unique_ptr<LoaderClient> client_;
};

v1::LoadEvent Planned(uint64_t sequence_number) {
  v1::LoadEvent event;
  event.set_sequence_number(sequence_number);
  event.mutable_planned();
  return event;
}

v1::LoadEvent Done(uint64_t sequence_number) {
  v1::LoadEvent event;
  event.set_sequence_number(sequence_number);
  event.mutable_done();
  return event;
}

TEST_F(LoaderClientTest, TakesAModelWhoseFingerprintIsItsOwn) {
  const absl::StatusOr<ServedModel> model = GetModel();
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->fingerprint, loader_.model.model_fingerprint());
  EXPECT_EQ(model->config.num_layers, ParseModelConfig(TinyConfigJson())->num_layers);
}

TEST_F(LoaderClientTest, RefusesAConfigThatIsNotItsFingerprints) {
  loader_.model.set_config_json(TinyConfigJson() + " ");
  EXPECT_EQ(GetModel().status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(LoaderClientTest, RefusesALoaderOfAnotherProtocol) {
  loader_.model.mutable_peer()->mutable_version()->set_major(kProtocolMajor + 1);
  EXPECT_EQ(GetModel().status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(LoaderClientTest, IsDoneWhenTheLoaderSaysSo) {
  loader_.load = [](grpc::ServerContext*, Events* events) {
    events->Write(Planned(0));
    events->Write(Done(1));
    return grpc::Status::OK;
  };
  EXPECT_TRUE(client_->Load({}).ok());
}

TEST_F(LoaderClientTest, IsNotDoneWhenTheStreamEndsBefore) {
  loader_.load = [](grpc::ServerContext*, Events* events) {
    events->Write(Planned(0));
    return grpc::Status::OK;
  };
  EXPECT_EQ(client_->Load({}).code(), absl::StatusCode::kDataLoss);
}

TEST_F(LoaderClientTest, RefusesAStreamThatSkipsAMessage) {
  loader_.load = [](grpc::ServerContext*, Events* events) {
    events->Write(Planned(0));
    events->Write(Done(2));
    return grpc::Status::OK;
  };
  EXPECT_EQ(client_->Load({}).code(), absl::StatusCode::kDataLoss);
}

TEST_F(LoaderClientTest, KeepsTheLoadersReasonAndNamesItsAddress) {
  loader_.load = [](grpc::ServerContext*, Events*) {
    return grpc::Status(grpc::StatusCode::NOT_FOUND, "no tensor \"x\"");
  };
  const absl::Status status = client_->Load({});
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(absl::StrContains(status.message(), "no tensor \"x\"")) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), absl::StrCat(runtime_->grpc_port()))) << status;
}

TEST_F(LoaderClientTest, CancelEndsTheLoadUnderWayAndEveryLaterCall) {
  absl::Notification under_way;
  loader_.load = [&](grpc::ServerContext* context, Events* events) {
    events->Write(Planned(0));
    under_way.Notify();
    while (!context->IsCancelled()) std::this_thread::yield();
    return grpc::Status::CANCELLED;
  };
  std::thread canceller([&] {
    under_way.WaitForNotification();
    client_->Cancel();
  });
  EXPECT_EQ(client_->Load({}).code(), absl::StatusCode::kCancelled);
  canceller.join();
  EXPECT_EQ(client_->Load({}).code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(GetModel().status().code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace baton::stage
