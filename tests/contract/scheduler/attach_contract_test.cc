// Stage.Attach: registration, order of messages, refusals, heartbeats, deadline, death, shutdown.
#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "common/rpc/peer.h"
#include "tests/contract/scheduler/scheduler_fixture.h"

namespace baton {
namespace {

class AttachContract : public SchedulerFixture {
 protected:
  using SchedulerFixture::SchedulerFixture;

  void ExpectEnd(const FakeStageWorker& stage, absl::StatusCode code, const char* words) {
    const std::optional<absl::Status> end = stage.WaitForEnd(kPatience);
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->code(), code) << *end;
    EXPECT_NE(end->message().find(words), std::string::npos) << *end;
  }
};

TEST_F(AttachContract, GivesPlanThenTopologyThenSteps) {
  CompleteGroup();
  const v1::StagePlan first = *stages_[0]->plan();
  const v1::StagePlan second = *stages_[1]->plan();
  EXPECT_EQ(first.num_stages(), 2u);
  EXPECT_EQ(first.layers().begin(), 0u);
  EXPECT_EQ(first.layers().end(), second.layers().begin());
  EXPECT_EQ(first.block_tokens(), 64u);
  EXPECT_EQ(first.max_model_len(), 1024u);
  EXPECT_EQ(first.max_steps_in_flight(), 3u);
  EXPECT_EQ(first.compute_type(), v1::DATA_TYPE_BFLOAT16);
  EXPECT_TRUE(Submit(MakeRequest(10, 3)).status.ok());
  EXPECT_TRUE(stages_[0]->WaitForStep(3, kPatience));
}

TEST_F(AttachContract, TellsItsEpochsApartFromThoseOfAnotherScheduler) {
  CompleteGroup();
  const v1::Topology first = *stages_[0]->topology();
  EXPECT_NE(first.scheduler_nonce(), 0u);
  EXPECT_EQ(stages_[1]->topology()->scheduler_nonce(), first.scheduler_nonce());
  RestartScheduler();
  CompleteGroup();
  const v1::Topology second = *stages_[0]->topology();
  EXPECT_EQ(second.epoch(), first.epoch());
  EXPECT_NE(second.scheduler_nonce(), 0u);
  EXPECT_NE(second.scheduler_nonce(), first.scheduler_nonce());
}

TEST_F(AttachContract, GivesAnyFreeStageToAWorkerWithoutPreference) {
  stages_.push_back(StartStage(FakeStageOptions()));
  stages_.push_back(StartStage(FakeStageOptions()));
  ASSERT_TRUE(WaitForReady(true));
  EXPECT_NE(stages_[0]->plan()->stage_index(), stages_[1]->plan()->stage_index());
  const auto third = StartStage(FakeStageOptions());
  ExpectEnd(*third, absl::StatusCode::kAlreadyExists, "all 2 stages");
}

TEST_F(AttachContract, RefusesAStageThatIsTaken) {
  CompleteGroup();
  const auto twin = StartStage(1);
  ExpectEnd(*twin, absl::StatusCode::kAlreadyExists, "stage 1");
  EXPECT_TRUE(Submit(MakeRequest(10, 3)).status.ok());
}

TEST_F(AttachContract, RefusesAnotherProtocolVersionNamingBoth) {
  FakeStageOptions options;
  options.protocol_major = 9;
  const auto stage = StartStage(options);
  ExpectEnd(*stage, absl::StatusCode::kFailedPrecondition, "protocol 9.");
  EXPECT_NE(
      stage->WaitForEnd(kPatience)->message().find(absl::StrCat("speaks ", kProtocolMajor, ".")),
      std::string::npos);
}

TEST_F(AttachContract, RefusesImpossibleRegistrations) {
  FakeStageOptions options;
  options.num_ranks = 3;
  const auto wide = StartStage(options);
  ExpectEnd(*wide, absl::StatusCode::kInvalidArgument, "3 ranks");
  const auto beyond = StartStage(2);
  ExpectEnd(*beyond, absl::StatusCode::kInvalidArgument, "stage 2");
  options.num_ranks = 1;
  options.num_blocks = 0;
  const auto without_cache = StartStage(options);
  ExpectEnd(*without_cache, absl::StatusCode::kInvalidArgument, "KV cache");
}

TEST_F(AttachContract, EndsAStreamThatBreaksTheOrder) {
  const auto stage = StartStage(0);
  v1::WorkerMessage joined;
  joined.mutable_joined()->set_epoch(5);
  stage->Send(joined);
  ExpectEnd(*stage, absl::StatusCode::kInvalidArgument, "joined");
  const auto again = StartStage(0);
  again->Send(v1::WorkerMessage());
  ExpectEnd(*again, absl::StatusCode::kInvalidArgument, "content");
}

TEST_F(AttachContract, EndsAStreamThatReportsAStepNeverSent) {
  CompleteGroup();
  v1::WorkerMessage report;
  report.mutable_report()->set_epoch(1);
  report.mutable_report()->set_step_id(44);
  stages_[0]->Send(report);
  ExpectEnd(*stages_[0], absl::StatusCode::kDataLoss, "step 44");
}

TEST_F(AttachContract, BeatsItsHeart) {
  CompleteGroup();
  v1::SubmitRequest request = MakeRequest(10, 900);
  EXPECT_TRUE(Submit(request).status.ok());
  EXPECT_TRUE(stages_[0]->WaitForHeartbeats(2, kPatience));
  EXPECT_FALSE(stages_[0]->WaitForEnd(absl::ZeroDuration()).has_value());
}

TEST_F(AttachContract, TakesAStageBackAfterItsWorkerDied) {
  CompleteGroup();
  stages_[1]->Kill();
  ASSERT_TRUE(WaitForReady(false));
  stages_[1] = StartStage(1);
  ASSERT_TRUE(WaitForReady(true));
  EXPECT_TRUE(stages_[0]->WaitForEpoch(2, kPatience));
  EXPECT_TRUE(Submit(MakeRequest(10, 3)).status.ok());
}

TEST_F(AttachContract, TakesAStageBackAfterItsWorkerGaveUp) {
  CompleteGroup();
  v1::WorkerMessage fault;
  fault.mutable_fault()->set_message("out of memory");
  stages_[1]->Send(fault);
  ExpectEnd(*stages_[1], absl::StatusCode::kAborted, "out of memory");
  stages_[1] = StartStage(1);
  EXPECT_TRUE(WaitForReady(true));
}

// Takes silence for no sign of death.
class PatientScheduler : public AttachContract {
 protected:
  static scheduler::SchedulerConfig Patient() {
    scheduler::SchedulerConfig config = MakeConfig();
    config.heartbeat_timeout = absl::Hours(1);
    config.step_timeout = absl::Hours(1);
    return config;
  }
  PatientScheduler() : AttachContract(Patient()) {}
};

// A process that dies cancels no stream: its connection ends, and nothing else tells of it here.
TEST_F(PatientScheduler, TakesAStageBackAfterItsWorkersConnectionBroke) {
  for (uint32_t index : {0, 1}) {
    FakeStageOptions options;
    options.stage_index = index;
    options.can_be_cut = true;
    stages_.push_back(StartStage(options));
  }
  ASSERT_TRUE(WaitForReady(true));
  stages_[1]->HoldReports();
  SubmitOutcome outcome;
  const v1::SubmitRequest request = MakeRequest(10, 3);
  std::thread caller([&] { outcome = Submit(request); });
  EXPECT_TRUE(stages_[0]->WaitForStep(1, kPatience)) << "its request is on its way";
  stages_[1]->Cut();
  EXPECT_TRUE(WaitForReady(false));
  stages_[1] = StartStage(1);
  EXPECT_TRUE(WaitForReady(true));
  EXPECT_TRUE(stages_[0]->WaitForEpoch(2, kPatience));
  caller.join();
  EXPECT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(outcome.tokens, Expected(request));
}

TEST_F(PatientScheduler, TakesAStageBackAtTheDeadlineOfItsStream) {
  bool registered = false;
  for (absl::Duration time = absl::Milliseconds(200); !registered; time *= 2) {
    FakeStageOptions options;
    options.stage_index = 0;
    options.time_to_live = time;
    const auto stage = StartStage(options);
    ExpectEnd(*stage, absl::StatusCode::kDeadlineExceeded, "");
    registered = stage->plan().has_value();
  }
  ASSERT_TRUE(WaitForState([](const v1::GroupState& state) {
    return state.stages(0).phase() == v1::STAGE_PHASE_ABSENT;
  }));
  CompleteGroup();
  EXPECT_TRUE(Submit(MakeRequest(10, 3)).status.ok());
}

// Starts stages again as they die of a token, until the end of the test's requests.
class DeadlyToken : public AttachContract {
 protected:
  static constexpr uint32_t kDeadly = kVocabSize - 1;

  void SetUp() override {
    stages_.push_back(StartStage(0));
    stages_.push_back(StartLast());
    ASSERT_TRUE(WaitForReady(true));
    keeper_ = std::thread([this] {
      while (!done_) {
        const auto end = stages_[1]->WaitForEnd(absl::Milliseconds(20));
        if (!end.has_value()) continue;
        // The scheduler may not have heard of the death yet and refuse the next worker.
        if (!absl::IsAlreadyExists(*end)) ++num_deaths_;
        stages_[1] = StartLast();
      }
    });
  }
  void TearDown() override {
    done_ = true;
    keeper_.join();
  }
  std::unique_ptr<FakeStageWorker> StartLast() {
    FakeStageOptions options;
    options.stage_index = 1;
    options.deadly_token = kDeadly;
    return StartStage(options);
  }
  static v1::SubmitRequest DeadlyRequest() {
    v1::SubmitRequest request = MakeRequest(5, 10);
    request.add_prompt_token_ids(kDeadly);
    return request;
  }

  std::atomic<bool> done_{false};
  std::atomic<int> num_deaths_{0};
  std::thread keeper_;
};

TEST_F(DeadlyToken, FailsTheRequestAfterTwoDeaths) {
  const SubmitOutcome outcome = Submit(DeadlyRequest());
  EXPECT_TRUE(absl::IsInternal(outcome.status)) << outcome.status;
  EXPECT_NE(outcome.status.message().find("not tried again"), std::string::npos);
  EXPECT_TRUE(outcome.tokens.empty());
  EXPECT_TRUE(Submit(MakeRequest(5, 10)).status.ok());
  EXPECT_EQ(num_deaths_, 2);
}

TEST_F(DeadlyToken, HarmsNobodyElse) {
  std::vector<v1::SubmitRequest> requests;
  for (uint32_t num_tokens = 10; requests.size() < 4; ++num_tokens) {
    v1::SubmitRequest request = MakeRequest(num_tokens, 100);
    const std::vector<uint32_t> answer = Expected(request);
    // The deadly token in its answer would make it deadly too.
    if (std::find(answer.begin(), answer.end(), kDeadly) != answer.end()) continue;
    requests.push_back(std::move(request));
  }
  std::vector<SubmitOutcome> outcomes(requests.size());
  std::vector<std::thread> callers;
  for (size_t i = 0; i < requests.size(); ++i) {
    callers.emplace_back([&, i] { outcomes[i] = Submit(requests[i]); });
  }
  EXPECT_TRUE(absl::IsInternal(Submit(DeadlyRequest()).status));
  for (std::thread& caller : callers) caller.join();
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_TRUE(outcomes[i].status.ok()) << outcomes[i].status;
    EXPECT_EQ(outcomes[i].tokens, Expected(requests[i]));
  }
}

class WatchfulScheduler : public AttachContract {
 protected:
  static scheduler::SchedulerConfig Watchful() {
    scheduler::SchedulerConfig config = MakeConfig();
    // The other stage has its turn within that, though others have the processors.
    config.heartbeat_timeout = absl::Seconds(2);
    return config;
  }
  WatchfulScheduler() : AttachContract(Watchful()) {}
};

TEST_F(WatchfulScheduler, LosesAFrozenWorkerAndGoesOnWithAnother) {
  stages_.push_back(StartStage(0));
  stages_.push_back(StartStage(1));
  ASSERT_TRUE(WaitForReady(true));
  stages_[0]->Freeze();
  ASSERT_TRUE(WaitForReady(false));
  stages_[0] = StartStage(0);
  ASSERT_TRUE(WaitForReady(true));
  EXPECT_TRUE(Submit(MakeRequest(10, 3)).status.ok());
}

TEST_F(AttachContract, LetsStagesLeaveWhenItStops) {
  CompleteGroup();
  StopScheduler();
  for (const auto& stage : stages_) {
    const std::optional<absl::Status> end = stage->WaitForEnd(kPatience);
    ASSERT_TRUE(end.has_value());
    EXPECT_TRUE(end->ok()) << *end;
  }
}

}  // namespace
}  // namespace baton
