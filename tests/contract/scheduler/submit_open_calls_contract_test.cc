// Scheduling.Submit where as many calls are open as may be.
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"

#include "common/rpc/peer.h"
#include "protos/baton/v1/scheduling.grpc.pb.h"
#include "services/scheduler/scheduling_service.h"
#include "tests/unit/services/scheduler/pipeline/simulated_group.h"

namespace baton::scheduler {
namespace {

class RefusalLog final : public QuietObserver {
 public:
  void OnRefused(absl::string_view reason) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    reasons_.emplace_back(reason);
  }
  std::vector<std::string> reasons() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return reasons_;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> reasons_;
};

TEST(SubmitOpenCalls, OneMoreIsRefusedCountedAndNotAskedForAtOnce) {
  RefusalLog log;
  GroupWatch watch;
  StepEngineOptions options;
  options.schedule.max_model_len = 64;
  options.schedule.vocab_size = 64;
  options.plans.emplace_back().set_num_stages(1);
  options.watch = &watch;
  StepLoop loop(std::move(options), 16);
  LiveCalls live_calls(0);
  UnreadCalls unread_calls(4);
  SchedulingService service(SubmitContext{.loop = &loop,
                                          .live_calls = &live_calls,
                                          .unread_calls = &unread_calls,
                                          .observer = &log,
                                          .vocab_size = 64},
                            &watch);
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  const auto stub = v1::Scheduling::NewStub(
      grpc::CreateChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials()));
  v1::SubmitRequest request;
  *request.mutable_peer() = MakePeerInfo("gateway");
  request.add_prompt_token_ids(2);
  request.mutable_sampling()->set_top_p(1);
  request.mutable_sampling()->set_repetition_penalty(1);
  request.mutable_stop()->set_max_tokens(4);
  grpc::ClientContext context;
  const auto reader = stub->Submit(&context, request);
  v1::SubmitResponse response;
  EXPECT_FALSE(reader->Read(&response));
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
  const auto& trailers = context.GetServerTrailingMetadata();
  EXPECT_EQ(trailers.count("retry-after-ms"), 1u);
  ASSERT_EQ(trailers.count("closed-for-us"), 1u);
  EXPECT_EQ(std::string(trailers.find("closed-for-us")->second.data(),
                        trailers.find("closed-for-us")->second.size()),
            "1000000");
  EXPECT_EQ(log.reasons(), std::vector<std::string>{"open_calls"});
  server->Shutdown();
}

}  // namespace
}  // namespace baton::scheduler
