// Scheduling.Submit where as many calls are open as may be.
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "grpcpp/support/channel_arguments.h"
#include "gtest/gtest.h"

#include "common/rpc/peer.h"
#include "protos/baton/v1/scheduling.grpc.pb.h"
#include "services/scheduler/scheduler_config.h"
#include "services/scheduler/scheduling_service.h"
#include "services/scheduler/stage_service.h"
#include "tests/contract/scheduler/scheduler_fixture.h"
#include "tests/fakes/fake_stage_worker.h"
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

// Counts tokens that were handed to the calls; what ends with the last one is over by then.
class TokenCount final : public QuietObserver {
 public:
  void OnTokens(uint64_t count) override {
    const absl::MutexLock lock(&mutex_);
    count_ += count;
  }
  void OnCounts(const ScheduleCounts& counts, uint64_t, bool) override {
    const absl::MutexLock lock(&mutex_);
    num_waiting_ = counts.num_waiting;
  }
  // Each is false if there are not so many within a minute.
  bool WaitFor(uint64_t count) {
    const absl::MutexLock lock(&mutex_);
    const auto enough = [this, count] {
      mutex_.AssertReaderHeld();
      return count_ >= count;
    };
    return mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::Minutes(1));
  }
  bool WaitForQueue(uint32_t num_waiting) {
    const absl::MutexLock lock(&mutex_);
    const auto enough = [this, num_waiting] {
      mutex_.AssertReaderHeld();
      return num_waiting_ >= num_waiting;
    };
    return mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::Minutes(1));
  }

 private:
  absl::Mutex mutex_;
  uint64_t count_ ABSL_GUARDED_BY(mutex_) = 0;
  uint32_t num_waiting_ ABSL_GUARDED_BY(mutex_) = 0;
};

// The fixture's configuration, of a scheduler that it does not start.
class FixtureConfig : public SchedulerFixture {
 public:
  using SchedulerFixture::Expected;
  using SchedulerFixture::kVocabSize;
  using SchedulerFixture::MakeConfig;
  using SchedulerFixture::MakeRequest;
};

// A scheduler that runs one sequence at a time, where few calls may be open, and one unread behind
// its end.
class FewCalls : public testing::Test {
 protected:
  // Fewer than a call may have unread, more than the client's window holds.
  static constexpr uint32_t kAnswer = 1000;

  explicit FewCalls(size_t most_open) : live_calls_(most_open) {
    const scheduler::SchedulerConfig config = FixtureConfig::MakeConfig();
    auto group = ResolveGroup(config);
    EXPECT_TRUE(group.ok()) << group.status();
    StepEngineOptions options;
    options.schedule = group->schedule;
    options.schedule.max_running = 1;
    options.schedule.priority_aging = kNever;
    options.plans = group->plans;
    options.heartbeat_timeout = config.heartbeat_timeout;
    options.watch = &watch_;
    options.observer = &tokens_;
    loop_ = std::make_unique<StepLoop>(std::move(options), 1024);
    scheduling_ =
        std::make_unique<SchedulingService>(SubmitContext{.loop = loop_.get(),
                                                          .live_calls = &live_calls_,
                                                          .unread_calls = &unread_calls_,
                                                          .observer = &tokens_,
                                                          .vocab_size = FixtureConfig::kVocabSize},
                                            &watch_);
    stage_service_ = std::make_unique<StageService>(loop_.get());
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(scheduling_.get());
    builder.RegisterService(stage_service_.get());
    server_ = builder.BuildAndStart();
    address_ = "127.0.0.1:" + std::to_string(port);
  }
  ~FewCalls() override {
    stages_.clear();
    watch_.Close();
    server_->Shutdown();
  }

  void CompleteGroup() {
    for (uint32_t index = 0; index < 2; ++index) {
      FakeStageOptions stage;
      stage.scheduler_address = address_;
      stage.stage_index = index;
      stage.vocab_size = FixtureConfig::kVocabSize;
      stages_.push_back(FakeStageWorker::Start(std::move(stage)));
    }
  }

  // Takes at most 4 KiB that nobody has read.
  std::unique_ptr<v1::Scheduling::Stub> SmallStub() const {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 4096);
    return v1::Scheduling::NewStub(
        grpc::CreateCustomChannel(address_, grpc::InsecureChannelCredentials(), arguments));
  }

  GroupWatch watch_;
  TokenCount tokens_;
  LiveCalls live_calls_;
  UnreadCalls unread_calls_{1};
  std::unique_ptr<StepLoop> loop_;
  std::unique_ptr<SchedulingService> scheduling_;
  std::unique_ptr<StageService> stage_service_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
  std::vector<std::unique_ptr<FakeStageWorker>> stages_;
};

class OneOpenCall : public FewCalls {
 protected:
  OneOpenCall() : FewCalls(1) { CompleteGroup(); }
};

class TwoOpenCalls : public FewCalls {
 protected:
  TwoOpenCalls() : FewCalls(2) {}
};

// What is over but unread is open no longer; of more such calls than may be, the one whose caller
// has taken nothing for longest is cut off.
TEST_F(OneOpenCall, WhatEndsUnreadLeavesRoomAndIsCutOffForTheNext) {
  const auto stub = SmallStub();
  const v1::SubmitRequest request = FixtureConfig::MakeRequest(10, kAnswer);
  grpc::ClientContext first_context;
  const auto first = stub->Submit(&first_context, request);
  ASSERT_TRUE(tokens_.WaitFor(kAnswer));
  ASSERT_EQ(unread_calls_.size(), 1u) << "the client's window holds it all";

  grpc::ClientContext second_context;
  const auto second = stub->Submit(&second_context, request);
  v1::SubmitResponse response;
  ASSERT_TRUE(second->Read(&response)) << "refused: the first call counts as open";
  ASSERT_TRUE(tokens_.WaitFor(2 * kAnswer));
  EXPECT_EQ(unread_calls_.size(), 1u);

  const SubmitOutcome cut = ReadAll(first.get(), first_context);
  EXPECT_TRUE(absl::IsCancelled(cut.status)) << cut.status;
  EXPECT_LT(cut.tokens.size(), kAnswer);
  const SubmitOutcome rest = ReadAll(second.get(), second_context);
  EXPECT_TRUE(rest.status.ok()) << rest.status;
  EXPECT_EQ(static_cast<size_t>(response.tokens_size()) + rest.tokens.size(), kAnswer);
}

// A caller can take nothing before it is offered something, however long ago it came.
TEST_F(TwoOpenCalls, WhoseOnlyMessageIsJustOfferedIsNotTheOneThatTookNothingForLongest) {
  const auto stub = SmallStub();
  v1::SubmitRequest patient_request = FixtureConfig::MakeRequest(10, 1);
  patient_request.set_priority(1);
  grpc::ClientContext patient_context;
  const auto patient = stub->Submit(&patient_context, patient_request);
  ASSERT_TRUE(tokens_.WaitForQueue(1));
  grpc::ClientContext idle_context;
  const auto idle = stub->Submit(&idle_context, FixtureConfig::MakeRequest(10, kAnswer));
  ASSERT_TRUE(tokens_.WaitForQueue(2));
  CompleteGroup();  // the better priority runs first, and leaves its answer unread
  ASSERT_TRUE(tokens_.WaitFor(kAnswer + 1));

  const SubmitOutcome cut = ReadAll(idle.get(), idle_context);
  EXPECT_TRUE(absl::IsCancelled(cut.status)) << cut.status;
  EXPECT_LT(cut.tokens.size(), kAnswer);
  const SubmitOutcome answered = ReadAll(patient.get(), patient_context);
  EXPECT_TRUE(answered.status.ok()) << answered.status;
  EXPECT_EQ(answered.tokens.size(), 1u);
}

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
