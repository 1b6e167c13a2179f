// Scheduling.Submit: ok, invalid, deadline, cancel, peer death, other version, overload, shutdown.
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "common/rpc/peer.h"
#include "tests/contract/scheduler/scheduler_fixture.h"
#include "tests/fakes/cuttable_channel.h"

namespace baton {
namespace {

class SubmitContract : public SchedulerFixture {
 protected:
  using SchedulerFixture::SchedulerFixture;

  void ExpectStagesIdle() {
    for (const auto& stage : stages_) {
      EXPECT_TRUE(stage->WaitForIdle(kPatience));
      EXPECT_TRUE(stage->violations().empty()) << stage->violations().front();
    }
  }

  static bool Runs(const v1::GroupState& state) {
    return state.num_running() == 1 && state.num_used_blocks() > 0;
  }
  bool WaitForRunning() { return WaitForState(Runs); }
  // After WaitForRunning, while a stage keeps the report of a step: nothing ends by itself.
  bool WaitForNoneLive() {
    return WaitForState([](const v1::GroupState& state) {
      return state.num_running() == 0 && state.num_waiting() == 0;
    });
  }

  void ExpectInvalid(const v1::SubmitRequest& request, const char* culprit) {
    const SubmitOutcome outcome = Submit(request);
    EXPECT_TRUE(absl::IsInvalidArgument(outcome.status)) << outcome.status;
    EXPECT_NE(outcome.status.message().find(culprit), std::string::npos) << outcome.status;
  }
};

TEST_F(SubmitContract, StreamsTokensInOrderAndReleasesThem) {
  CompleteGroup();
  const v1::SubmitRequest request = MakeRequest(100, 20);
  const SubmitOutcome outcome = Submit(request);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(outcome.tokens, Expected(request));
  for (size_t i = 0; i < outcome.responses.size(); ++i) {
    EXPECT_EQ(outcome.responses[i].sequence_number(), i);
  }
  EXPECT_EQ(outcome.responses.back().finish_reason(), v1::FINISH_REASON_LENGTH);
  ExpectStagesIdle();
}

TEST_F(SubmitContract, ServesManyStreamsAtOnce) {
  CompleteGroup();
  std::vector<std::thread> callers;
  for (uint32_t i = 0; i < 24; ++i) {
    callers.emplace_back([this, i] {
      v1::SubmitRequest request = MakeRequest(50 + 13 * i, 30);
      request.mutable_sampling()->set_seed(i);
      const SubmitOutcome outcome = Submit(request);
      EXPECT_TRUE(outcome.status.ok()) << outcome.status;
      EXPECT_EQ(outcome.tokens, Expected(request));
    });
  }
  for (std::thread& caller : callers) caller.join();
  ExpectStagesIdle();
}

TEST_F(SubmitContract, ReportsLogprobsWhenAsked) {
  CompleteGroup();
  v1::SubmitRequest request = MakeRequest(100, 2);
  request.mutable_sampling()->set_logprobs(true);
  request.mutable_sampling()->set_num_prompt_logprobs(0);
  const SubmitOutcome outcome = Submit(request);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(outcome.responses[0].prompt_logprobs_size(), 99);
  EXPECT_EQ(outcome.responses[0].tokens(0).logprobs().token().token_id(), outcome.tokens[0]);
}

TEST_F(SubmitContract, RefusesInvalidRequests) {
  CompleteGroup();
  ExpectInvalid(MakeRequest(0, 4), "prompt");
  ExpectInvalid(MakeRequest(1024, 4), "1024");
  ExpectInvalid(MakeRequest(4, 0), "max_tokens");
  v1::SubmitRequest request = MakeRequest(4, 4);
  request.set_prompt_token_ids(2, 4000000000u);
  ExpectInvalid(request, "4000000000");
  request = MakeRequest(4, 4);
  request.mutable_sampling()->set_temperature(-1);
  ExpectInvalid(request, "temperature");
  request.mutable_sampling()->set_temperature(std::numeric_limits<float>::quiet_NaN());
  ExpectInvalid(request, "temperature");
  EXPECT_TRUE(Submit(MakeRequest(4, 4)).status.ok());
}

TEST_F(SubmitContract, RefusesAnotherProtocolVersion) {
  v1::SubmitRequest request = MakeRequest(4, 4);
  request.mutable_peer()->mutable_version()->set_major(kProtocolMajor + 7);
  const SubmitOutcome outcome = Submit(request);
  EXPECT_TRUE(absl::IsFailedPrecondition(outcome.status)) << outcome.status;
  for (const uint32_t major : {kProtocolMajor + 7, kProtocolMajor}) {
    EXPECT_NE(outcome.status.message().find(absl::StrCat(major, ".")), std::string::npos);
  }
}

TEST_F(SubmitContract, EndsTheSequenceWhenItsCallerCancels) {
  CompleteGroup();
  stages_[1]->HoldReports(1);  // one token, and no end before the caller cancels
  grpc::ClientContext context;
  auto reader = stub_->Submit(&context, MakeRequest(100, 900));
  v1::SubmitResponse response;
  ASSERT_TRUE(reader->Read(&response));
  ASSERT_TRUE(WaitForRunning());
  context.TryCancel();
  EXPECT_TRUE(WaitForNoneLive());
  stages_[1]->Release();
  ExpectStagesIdle();
  EXPECT_TRUE(absl::IsCancelled(ReadAll(reader.get(), context).status));
}

// A process that dies cancels nothing: its connection ends, and nothing else tells of it here.
TEST_F(SubmitContract, EndsTheSequenceWhenItsCallersConnectionBreaks) {
  CompleteGroup();
  stages_[1]->HoldReports(1);
  const auto connection = CuttableChannel::Dial(server_->grpc_port());
  ASSERT_NE(connection, nullptr);
  const auto stub = v1::Scheduling::NewStub(connection->channel());
  grpc::ClientContext context;
  const auto reader = stub->Submit(&context, MakeRequest(100, 900));
  v1::SubmitResponse response;
  ASSERT_TRUE(reader->Read(&response));
  ASSERT_TRUE(WaitForRunning());
  connection->Cut();
  EXPECT_TRUE(absl::IsUnavailable(ReadAll(reader.get(), context).status));
  EXPECT_TRUE(WaitForNoneLive());
  stages_[1]->Release();
  EXPECT_TRUE(
      WaitForState([](const v1::GroupState& state) { return state.num_used_blocks() == 0; }));
  ExpectStagesIdle();
  EXPECT_LT(stages_[0]->num_computed_tokens(), 200u) << "it was computed to its end";
  EXPECT_TRUE(Submit(MakeRequest(10, 3)).status.ok());
}

// The client tells of the deadline without a word of the scheduler. Nothing was written that could
// fail.
TEST_F(SubmitContract, EndsTheSequenceAtTheCallersDeadline) {
  CompleteGroup();
  bool ran = false;
  for (absl::Duration timeout = absl::Seconds(1); !ran && timeout < kPatience; timeout *= 4) {
    stages_[1]->Release();
    ExpectStagesIdle();
    stages_[1]->HoldReports();
    ran = SubmitUntilDeadline(MakeRequest(100, 900), timeout, Runs);
  }
  ASSERT_TRUE(ran);
  EXPECT_TRUE(WaitForNoneLive());
  stages_[1]->Release();
  ExpectStagesIdle();
}

TEST_F(SubmitContract, GoesOnWithTheSameTokensWhenAStageDies) {
  CompleteGroup();
  const v1::SubmitRequest request = MakeRequest(100, 300);
  grpc::ClientContext context;
  auto reader = stub_->Submit(&context, request);
  v1::SubmitResponse response;
  ASSERT_TRUE(reader->Read(&response));
  std::vector<uint32_t> tokens;
  for (const auto& token : response.tokens()) tokens.push_back(token.token_id());
  stages_[0]->Kill();
  ASSERT_TRUE(WaitForReady(false));
  stages_[0] = StartStage(0);
  const SubmitOutcome rest = ReadAll(reader.get(), context);
  ASSERT_TRUE(rest.status.ok()) << rest.status;
  tokens.insert(tokens.end(), rest.tokens.begin(), rest.tokens.end());
  EXPECT_EQ(tokens, Expected(request));
  ExpectStagesIdle();
}

TEST_F(SubmitContract, ReportsASequenceThatFailsOnAStage) {
  CompleteGroup();
  stages_[1]->FaultNext("logits not finite at position 9");
  const SubmitOutcome outcome = Submit(MakeRequest(10, 5));
  EXPECT_EQ(outcome.status.code(), absl::StatusCode::kInternal) << outcome.status;
  EXPECT_NE(outcome.status.message().find("logits not finite"), std::string::npos);
  EXPECT_EQ(outcome.responses.back().finish_reason(), v1::FINISH_REASON_ERROR);
  EXPECT_TRUE(Submit(MakeRequest(10, 5)).status.ok());
}

TEST_F(SubmitContract, RefusesARequestThatAStageFindsImpossible) {
  CompleteGroup();
  stages_[1]->FaultNext("none of allowed_token_ids can follow", /*caused_by_request=*/true);
  const SubmitOutcome outcome = Submit(MakeRequest(10, 5));
  EXPECT_EQ(outcome.status, absl::InvalidArgumentError("none of allowed_token_ids can follow"));
  EXPECT_EQ(outcome.responses.back().finish_reason(), v1::FINISH_REASON_ERROR);
  EXPECT_TRUE(Submit(MakeRequest(10, 5)).status.ok());
}

TEST_F(SubmitContract, TellsWhenToAskAgainWhereOthersFillAStage) {
  CompleteGroup();
  stages_[1]->OverloadNext("no room for the constraint");
  const SubmitOutcome outcome = Submit(MakeRequest(10, 5));
  EXPECT_EQ(outcome.status, absl::ResourceExhaustedError("no room for the constraint"));
  EXPECT_TRUE(outcome.retry_after_ms.has_value());
  EXPECT_EQ(outcome.responses.back().finish_reason(), v1::FINISH_REASON_ERROR);
  EXPECT_TRUE(Submit(MakeRequest(10, 5)).status.ok());
}

TEST_F(SubmitContract, GoesOnAfterResumedTokens) {
  CompleteGroup();
  v1::SubmitRequest request = MakeRequest(30, 20);
  const std::vector<uint32_t> all = Expected(request);
  request.mutable_resumed_token_ids()->Add(all.begin(), all.begin() + 8);
  const SubmitOutcome outcome = Submit(request);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(outcome.tokens, std::vector<uint32_t>(all.begin() + 8, all.end()));
}

TEST_F(SubmitContract, FinishesWhatRunsWhenItIsShutDown) {
  CompleteGroup();
  const v1::SubmitRequest request = MakeRequest(100, 300);
  grpc::ClientContext context;
  auto reader = stub_->Submit(&context, request);
  v1::SubmitResponse response;
  ASSERT_TRUE(reader->Read(&response));
  std::thread stopper([this] { StopScheduler(); });
  SubmitOutcome rest = ReadAll(reader.get(), context);
  stopper.join();
  EXPECT_TRUE(rest.status.ok()) << rest.status;
  EXPECT_EQ(rest.tokens.size() + static_cast<size_t>(response.tokens_size()), 300u);
  for (const auto& stage : stages_) {
    EXPECT_EQ(stage->WaitForEnd(kPatience), absl::OkStatus());
  }
}

class FullQueue : public SubmitContract {
 protected:
  static scheduler::SchedulerConfig Narrow() {
    scheduler::SchedulerConfig config = MakeConfig();
    config.max_num_queued_reqs = 2;
    return config;
  }
  FullQueue() : SubmitContract(Narrow()) {}
};

TEST_F(FullQueue, RefusesWithATimeToRetry) {
  // Nothing runs while no stage is there: two wait, the third is refused.
  const OpenSubmit waiting[] = {BeginSubmit(MakeRequest(4, 4)), BeginSubmit(MakeRequest(4, 4))};
  ASSERT_TRUE(WaitForState([](const v1::GroupState& state) { return state.num_waiting() == 2; }));
  const SubmitOutcome outcome = Submit(MakeRequest(4, 4));
  EXPECT_TRUE(absl::IsResourceExhausted(outcome.status)) << outcome.status;
  ASSERT_TRUE(outcome.retry_after_ms.has_value());
  EXPECT_GT(std::stoi(*outcome.retry_after_ms), 0);
  CompleteGroup();
  for (const OpenSubmit& submit : waiting) {
    const SubmitOutcome held = ReadAll(submit);
    EXPECT_TRUE(held.status.ok()) << held.status;
  }
}

// What waits goes on waiting.
class EndlessQueue : public SubmitContract {
 protected:
  static scheduler::SchedulerConfig Endless() {
    scheduler::SchedulerConfig config = MakeConfig();
    config.max_queue_wait = absl::Hours(1);
    config.unready_grace = absl::Hours(1);
    return config;
  }
  EndlessQueue() : SubmitContract(Endless()) {}
};

TEST_F(EndlessQueue, ForgetsThoseWhoseCallersConnectionBreaks) {
  const auto connection = CuttableChannel::Dial(server_->grpc_port());
  ASSERT_NE(connection, nullptr);
  const auto stub = v1::Scheduling::NewStub(connection->channel());
  grpc::ClientContext context;
  const auto reader = stub->Submit(&context, MakeRequest(4, 4));
  ASSERT_TRUE(WaitForState([](const v1::GroupState& state) { return state.num_waiting() == 1; }));
  connection->Cut();
  EXPECT_TRUE(absl::IsUnavailable(ReadAll(reader.get(), context).status));
  EXPECT_TRUE(WaitForState([](const v1::GroupState& state) {
    return state.num_waiting() == 0 && state.num_waiting_tokens() == 0;
  }));
}

TEST_F(EndlessQueue, ForgetsThoseWhoseDeadlinePasses) {
  bool waited = false;
  for (absl::Duration timeout = absl::Seconds(1); !waited && timeout < kPatience; timeout *= 4) {
    waited = SubmitUntilDeadline(MakeRequest(4, 4), timeout, [](const v1::GroupState& state) {
      return state.num_waiting() == 1;
    });
  }
  ASSERT_TRUE(waited);
  EXPECT_TRUE(WaitForState([](const v1::GroupState& state) {
    return state.num_waiting() == 0 && state.num_waiting_tokens() == 0;
  }));
}

class ImpatientGroup : public SubmitContract {
 protected:
  static scheduler::SchedulerConfig Impatient() {
    scheduler::SchedulerConfig config = MakeConfig();
    config.unready_grace = absl::Milliseconds(50);
    return config;
  }
  ImpatientGroup() : SubmitContract(Impatient()) {}
};

TEST_F(ImpatientGroup, IsUnavailableWhenNoStageComes) {
  const SubmitOutcome outcome = Submit(MakeRequest(4, 4));
  EXPECT_TRUE(absl::IsUnavailable(outcome.status)) << outcome.status;
  EXPECT_TRUE(outcome.retry_after_ms.has_value());
}

}  // namespace
}  // namespace baton
