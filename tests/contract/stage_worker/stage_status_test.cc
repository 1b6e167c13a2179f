// StageStatus.GetStageStatus of a whole stage-worker, at the address that it tells the scheduler.
#include <memory>
#include <thread>

#include "absl/strings/match.h"
#include "grpcpp/create_channel.h"
#include "gtest/gtest.h"

#include "common/rpc/server_runtime.h"
#include "kernels/reference/reference_backend.h"
#include "protos/baton/v1/stage_status.grpc.pb.h"
#include "services/stage_worker/stage_server.h"
#include "tests/contract/callers/impatient_callers.h"
#include "tests/contract/stage_worker/worker_fixture.h"

namespace baton::stage {
namespace {

class StageStatusContract : public WorkerFixture {
 protected:
  StageStatusContract() : backend_(kernels::CreateReferenceBackend()) {}
  ~StageStatusContract() override { StopServer(); }

  // Until it has registered.
  void StartServer() {
    StageConfig config;
    config.server.role = "stage-worker";
    config.server.listen_address = "127.0.0.1:0";
    config.server.drain_timeout = absl::Seconds(5);
    config.stage = options();
    auto runtime = ServerRuntime::Create(config.server);
    ASSERT_TRUE(runtime.ok()) << runtime.status();
    runtime_ = *std::move(runtime);
    server_ = std::make_unique<StageServer>(config, runtime_.get(), backend_.get());
    thread_ = std::thread([this] { EXPECT_TRUE(server_->Run().ok()); });
    const auto registration = scheduler().Next(v1::WorkerMessage::kRegister);
    ASSERT_TRUE(registration.ok()) << registration.status();
    stub_ = v1::StageStatus::NewStub(grpc::CreateChannel(registration->register_().status_address(),
                                                         grpc::InsecureChannelCredentials()));
  }
  void StopServer() {
    if (!thread_.joinable()) return;
    runtime_->RequestShutdown("end of the test");
    thread_.join();
    server_.reset();
    runtime_.reset();
  }
  // Goes on to the epoch.
  void JoinEpoch(uint64_t epoch) {
    scheduler().Send(Plan(0, 1));
    ASSERT_TRUE(scheduler().Next(v1::WorkerMessage::kReady).ok());
    Join(epoch);
  }

  grpc::Status Ask(grpc::ClientContext* context) {
    return stub_->GetStageStatus(context, v1::GetStageStatusRequest(), &response_);
  }
  const v1::GetStageStatusResponse& Ask() {
    grpc::ClientContext context;
    const grpc::Status status = Ask(&context);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response_;
  }

  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<ServerRuntime> runtime_;
  std::unique_ptr<StageServer> server_;
  std::thread thread_;
  std::unique_ptr<v1::StageStatus::Stub> stub_;
  v1::GetStageStatusResponse response_;
};

TEST_F(StageStatusContract, TellsWhatTheStageHolds) {
  StartServer();
  EXPECT_EQ(Ask().epoch(), 0u);
  EXPECT_EQ(response_.num_ranks(), 0u) << "there is no plan yet";
  EXPECT_EQ(response_.weight_bytes(), 0u);
  JoinEpoch(7);
  EXPECT_EQ(Ask().epoch(), 7u);
  EXPECT_EQ(response_.stage_index(), 0u);
  EXPECT_EQ(response_.layers().begin(), 0u);
  EXPECT_EQ(response_.layers().end(), 2u);
  EXPECT_EQ(response_.num_ranks(), 2u);
  EXPECT_EQ(response_.last_step_id(), 0u);
  EXPECT_EQ(response_.num_sequences(), 0u);
  EXPECT_EQ(response_.num_used_blocks(), 0u);
  EXPECT_EQ(response_.num_total_blocks(), 8u);
  EXPECT_GT(response_.weight_bytes(), 0u);
  EXPECT_GT(response_.kv_bytes(), 0u);
  EXPECT_TRUE(absl::StartsWith(response_.backend(), "reference")) << response_.backend();
  for (uint64_t step = 1; step <= 2; ++step) {
    scheduler().Send(PromptStep(7, step));
    TakeToken(7, step);
    EXPECT_EQ(Ask().last_step_id(), step);
    EXPECT_EQ(response_.num_sequences(), step);
    EXPECT_EQ(response_.num_used_blocks(), step);
  }
}

TEST_F(StageStatusContract, OutlivesImpatientCallers) {
  StartServer();
  JoinEpoch(1);
  ExpectOutlivesImpatientCallers([this](grpc::ClientContext* context) {
    v1::GetStageStatusResponse response;
    return stub_->GetStageStatus(context, v1::GetStageStatusRequest(), &response);
  });
}

TEST_F(StageStatusContract, OutlivesDyingCallers) {
  StartServer();
  ExpectOutlivesDyingCallers(runtime_->grpc_port(),
                             [](const auto& channel, grpc::ClientContext* context) {
                               v1::GetStageStatusResponse response;
                               return v1::StageStatus::NewStub(channel)->GetStageStatus(
                                   context, v1::GetStageStatusRequest(), &response);
                             });
}

TEST_F(StageStatusContract, AnswersWithoutAScheduler) {
  StartServer();
  JoinEpoch(1);
  scheduler().Send(PromptStep(1, 1));
  TakeToken(1, 1);
  const grpc::Status gone(grpc::StatusCode::UNAVAILABLE, "going down");
  scheduler().Refuse(gone);
  scheduler().EndSession(gone);
  ASSERT_TRUE(scheduler().WaitForRefusal());
  ASSERT_EQ(scheduler().num_sessions(), 1) << "it has a scheduler again";
  EXPECT_EQ(Ask().num_ranks(), 2u);
  EXPECT_GT(response_.weight_bytes(), 0u) << "it keeps them";
}

TEST_F(StageStatusContract, IsUnavailableOnceTheWorkerIsGone) {
  StartServer();
  Ask();
  StopServer();
  grpc::ClientContext context;
  EXPECT_EQ(Ask(&context).error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace baton::stage
