#include "services/gateway/clients/resuming_scheduler_client.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "services/gateway/admission/refusal.h"
#include "tests/fakes/held_executor.h"

namespace baton::gateway {
namespace {

using testing::ElementsAre;

// One call as the scheduler sees it.
struct ScriptedCall {
  v1::SubmitRequest request;
  SubmitObserver* observer;
  bool paused = false;
  bool finished = false;
  bool dropped = false;
};

class ScriptedStream final : public SubmitStream {
 public:
  explicit ScriptedStream(std::shared_ptr<ScriptedCall> call) : call_(std::move(call)) {}
  ~ScriptedStream() override { call_->dropped = true; }
  void SetPaused(bool paused) override { call_->paused = paused; }
  void Finish() override { call_->finished = true; }

 private:
  const std::shared_ptr<ScriptedCall> call_;
};

class ScriptedClient final : public SchedulerClient {
 public:
  std::unique_ptr<SubmitStream> Submit(const v1::SubmitRequest& request, const SubmitOptions&,
                                       SubmitObserver& observer) override {
    calls.push_back(std::make_shared<ScriptedCall>(ScriptedCall{request, &observer}));
    return std::make_unique<ScriptedStream>(calls.back());
  }
  std::unique_ptr<GroupStream> WatchGroup(GroupStateCallback, GroupLostCallback) override {
    return nullptr;
  }

  std::vector<std::shared_ptr<ScriptedCall>> calls;
};

// What the gateway sees of a sequence.
class Caller final : public SubmitObserver {
 public:
  void OnResponses(std::vector<v1::SubmitResponse>& responses) override {
    for (const v1::SubmitResponse& response : responses) {
      for (const v1::GeneratedToken& token : response.tokens()) tokens.push_back(token.token_id());
      num_prompt_logprobs += response.prompt_logprobs_size();
      num_cached += response.cached_prompt_tokens();
    }
  }
  void OnDone(const absl::Status& done) override {
    EXPECT_FALSE(status.has_value());
    status = done;
    stream.reset();  // as those do that fail a request
  }

  std::vector<uint32_t> tokens;
  int num_prompt_logprobs = 0;
  uint32_t num_cached = 0;
  std::optional<absl::Status> status;
  std::unique_ptr<SubmitStream> stream;
};

absl::Status Broken() { return absl::UnavailableError("the scheduler cannot be reached"); }

class ResumingSchedulerClientTest : public testing::Test {
 protected:
  void Start(Caller* caller, absl::Time deadline = absl::InfiniteFuture()) {
    v1::SubmitRequest request;
    request.add_prompt_token_ids(7);
    request.mutable_sampling()->set_num_prompt_logprobs(2);
    caller->stream = client_.Submit(request, {.deadline = deadline}, *caller);
  }
  ScriptedCall& call(size_t i) { return *scheduler_.calls.at(i); }
  size_t num_calls() const { return scheduler_.calls.size(); }
  std::vector<uint32_t> Resumed(size_t i) {
    const auto& ids = call(i).request.resumed_token_ids();
    return {ids.begin(), ids.end()};
  }
  void Send(size_t i, const std::vector<uint32_t>& tokens, int num_prompt_logprobs = 0,
            uint32_t num_cached = 0) {
    std::vector<v1::SubmitResponse> responses(1);
    for (uint32_t token : tokens) responses[0].add_tokens()->set_token_id(token);
    for (int j = 0; j < num_prompt_logprobs; ++j) responses[0].add_prompt_logprobs();
    responses[0].set_cached_prompt_tokens(num_cached);
    call(i).observer->OnResponses(responses);
  }
  void End(size_t i, const absl::Status& status) { call(i).observer->OnDone(status); }

  HeldExecutor executor_;
  ScriptedClient scheduler_;
  int num_resubmissions_ = 0;
  ResumingSchedulerClient client_{
      scheduler_, executor_, {.patience = absl::Seconds(30), .on_resubmission = [this] {
                                ++num_resubmissions_;
                              }}};
};

TEST_F(ResumingSchedulerClientTest, GoesOnAfterTheTokensThatCame) {
  client_.SetPresent(true);
  Caller caller;
  Start(&caller);
  Send(0, {1, 2}, 3, 64);
  Send(0, {3});
  End(0, Broken());
  EXPECT_TRUE(call(0).dropped);
  client_.SetPresent(false);
  EXPECT_EQ(num_calls(), 1u);
  client_.SetPresent(true);
  ASSERT_EQ(num_calls(), 2u);
  EXPECT_THAT(Resumed(1), ElementsAre(1, 2, 3));
  EXPECT_THAT(call(1).request.prompt_token_ids(), ElementsAre(7));
  EXPECT_FALSE(call(1).request.sampling().has_num_prompt_logprobs());
  EXPECT_EQ(num_resubmissions_, 1);
  // What the second says of the prompt once more is not for the caller.
  Send(1, {4}, 3, 32);
  End(1, absl::OkStatus());
  EXPECT_THAT(caller.tokens, ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(caller.num_prompt_logprobs, 3);
  EXPECT_EQ(caller.num_cached, 64u);
  EXPECT_TRUE(caller.status->ok());
}

TEST_F(ResumingSchedulerClientTest, CountsOnlyTheTimeWithoutASchedulerAgainstItsPatience) {
  const absl::Duration patience = absl::Milliseconds(500);
  ResumingSchedulerClient client(scheduler_, executor_, {.patience = patience});
  client.SetPresent(true);
  Caller caller;
  caller.stream = client.Submit({}, {}, caller);
  client.SetPresent(false);
  client.SetPresent(true);
  End(1, WithRetryAfter(absl::ResourceExhaustedError("full"), absl::Seconds(1)));
  executor_.RunDelayed(absl::Milliseconds(20));
  ASSERT_EQ(num_calls(), 3u);
  // It waits in the queue for longer than the patience; then this scheduler is lost as well.
  EXPECT_FALSE(executor_.RunOne(patience));
  End(2, Broken());
  // Half of the patience is more than what passed without a scheduler.
  executor_.RunDelayed(patience / 2);
  EXPECT_FALSE(caller.status.has_value()) << *caller.status;
  EXPECT_EQ(num_calls(), 4u);
}

TEST_F(ResumingSchedulerClientTest, AsksAgainForEverythingIfNoTokenCame) {
  client_.SetPresent(true);
  Caller caller;
  Start(&caller);
  client_.SetPresent(false);
  client_.SetPresent(true);
  ASSERT_EQ(num_calls(), 2u);
  EXPECT_TRUE(Resumed(1).empty());
  EXPECT_EQ(call(1).request.sampling().num_prompt_logprobs(), 2u);
  Send(1, {1}, 3, 32);
  EXPECT_EQ(caller.num_prompt_logprobs, 3);
  EXPECT_EQ(caller.num_cached, 32u);
}

TEST_F(ResumingSchedulerClientTest, LeavesASchedulerThatHangs) {
  client_.SetPresent(true);
  Caller caller;
  Start(&caller);
  Send(0, {1});
  client_.SetPresent(false);
  EXPECT_TRUE(call(0).dropped);
  EXPECT_FALSE(caller.status.has_value());
}

TEST_F(ResumingSchedulerClientTest, WaitsForTheFirstScheduler) {
  Caller caller;
  Start(&caller);
  EXPECT_EQ(num_calls(), 0u);
  client_.SetPresent(true);
  EXPECT_EQ(num_calls(), 1u);
}

TEST_F(ResumingSchedulerClientTest, PassesOnWhatASchedulerSays) {
  client_.SetPresent(true);
  for (const absl::Status& status :
       {absl::InvalidArgumentError("x"), absl::ResourceExhaustedError("x"),
        absl::InternalError("x"), absl::DeadlineExceededError("x"),
        WithRetryAfter(absl::UnavailableError("incomplete"), absl::Seconds(1))}) {
    Caller caller;
    Start(&caller);
    End(num_calls() - 1, status);
    EXPECT_EQ(*caller.status, status);
  }
  EXPECT_EQ(num_resubmissions_, 0);
}

TEST_F(ResumingSchedulerClientTest, WaitsForRoomInTheNextSchedulersQueue) {
  client_.SetPresent(true);
  Caller caller;
  Start(&caller);
  client_.SetPresent(false);
  client_.SetPresent(true);
  for (int refusal = 0; refusal < 3; ++refusal) {
    const size_t before = num_calls();
    End(before - 1, WithRetryAfter(absl::ResourceExhaustedError("full"), absl::Seconds(1)));
    EXPECT_FALSE(caller.status.has_value());
    executor_.RunDelayed(absl::Seconds(1));
    EXPECT_EQ(num_calls(), before + 1);
  }
  // Too slow a reader is told so without a time to try again.
  End(num_calls() - 1, absl::ResourceExhaustedError("too slow"));
  EXPECT_TRUE(absl::IsResourceExhausted(*caller.status));
}

// Of what it is running, a scheduler ends what has no room: whether or not another was lost before.
TEST_F(ResumingSchedulerClientTest, PassesOnWantOfRoomOnceTheNextSchedulerHasSentTokens) {
  client_.SetPresent(true);
  Caller caller;
  Start(&caller);
  client_.SetPresent(false);
  client_.SetPresent(true);
  ASSERT_EQ(num_calls(), 2u);
  Send(1, {1});
  End(1, WithRetryAfter(absl::ResourceExhaustedError("no room"), absl::Seconds(1)));
  ASSERT_TRUE(caller.status.has_value());
  EXPECT_TRUE(absl::IsResourceExhausted(*caller.status));
}

TEST_F(ResumingSchedulerClientTest, TriesAgainAfterAMomentIfOnlyItsCallBroke) {
  client_.SetPresent(true);
  for (const absl::Status& status :
       {Broken(), absl::CancelledError("the server stops"), absl::UnknownError("removed")}) {
    Caller caller;
    Start(&caller);
    const size_t before = num_calls();
    End(before - 1, status);
    EXPECT_EQ(num_calls(), before);
    executor_.RunDelayed(absl::Seconds(1));
    EXPECT_EQ(num_calls(), before + 1);
  }
}

TEST_F(ResumingSchedulerClientTest, GivesUpAfterItsPatienceAndSaysWhenToTryAgain) {
  client_.SetPresent(true);
  Caller caller;
  Start(&caller);
  client_.SetPresent(false);
  executor_.RunDelayed(absl::Seconds(29));
  EXPECT_FALSE(caller.status.has_value());
  executor_.RunDelayed(absl::Seconds(30));
  ASSERT_TRUE(caller.status.has_value());
  EXPECT_TRUE(absl::IsUnavailable(*caller.status));
  EXPECT_TRUE(RetryAfter(*caller.status).has_value());
  client_.SetPresent(true);
  EXPECT_EQ(num_calls(), 1u);
}

TEST_F(ResumingSchedulerClientTest, PatienceOfAnEarlierLossIsVoid) {
  client_.SetPresent(true);
  Caller caller;
  Start(&caller);
  client_.SetPresent(false);
  client_.SetPresent(true);
  client_.SetPresent(false);
  client_.SetPresent(true);
  executor_.RunDelayed(absl::Seconds(30));
  EXPECT_FALSE(caller.status.has_value());
  EXPECT_EQ(num_calls(), 3u);
}

TEST_F(ResumingSchedulerClientTest, EndsAtTheDeadlineWhileItWaits) {
  Caller caller;
  Start(&caller, absl::Now());
  executor_.RunDelayed(absl::Seconds(1));
  ASSERT_TRUE(caller.status.has_value());
  EXPECT_TRUE(absl::IsDeadlineExceeded(*caller.status)) << *caller.status;
}

TEST_F(ResumingSchedulerClientTest, DoesNotBringDownSchedulersForever) {
  client_.SetPresent(true);
  Caller caller;
  Start(&caller);
  for (int loss = 0; loss < 5; ++loss) {
    ASSERT_FALSE(caller.status.has_value()) << loss;
    // Its own end may be known before the loss of the scheduler.
    if (loss % 2 == 0) End(num_calls() - 1, Broken());
    client_.SetPresent(false);
    client_.SetPresent(true);
  }
  ASSERT_TRUE(caller.status.has_value());
  EXPECT_TRUE(absl::IsInternal(*caller.status)) << *caller.status;
}

TEST_F(ResumingSchedulerClientTest, ATokenBetweenLossesClearsASequence) {
  client_.SetPresent(true);
  Caller caller;
  Start(&caller);
  for (uint32_t loss = 0; loss < 20; ++loss) {
    Send(num_calls() - 1, {loss});
    client_.SetPresent(false);
    client_.SetPresent(true);
  }
  EXPECT_FALSE(caller.status.has_value());
  EXPECT_EQ(Resumed(20).size(), 20u);
}

TEST_F(ResumingSchedulerClientTest, StaysPausedInTheNextCall) {
  client_.SetPresent(true);
  Caller caller;
  Start(&caller);
  caller.stream->SetPaused(true);
  EXPECT_TRUE(call(0).paused);
  client_.SetPresent(false);
  client_.SetPresent(true);
  EXPECT_TRUE(call(1).paused);
  caller.stream->SetPaused(false);
  EXPECT_FALSE(call(1).paused);
}

TEST_F(ResumingSchedulerClientTest, ForgetsWhatItsCallerDropped) {
  client_.SetPresent(true);
  Caller caller;
  Start(&caller);
  client_.SetPresent(false);
  caller.stream.reset();
  client_.SetPresent(true);
  EXPECT_EQ(num_calls(), 1u);
  executor_.RunDelayed(absl::Hours(1));
  EXPECT_FALSE(caller.status.has_value());
}

TEST_F(ResumingSchedulerClientTest, FinishedSequencesAreNotResumed) {
  client_.SetPresent(true);
  Caller caller;
  Start(&caller);
  Send(0, {1});
  caller.stream->Finish();
  EXPECT_TRUE(call(0).finished);
  client_.SetPresent(false);
  client_.SetPresent(true);
  EXPECT_EQ(num_calls(), 1u);
}

TEST_F(ResumingSchedulerClientTest, EndsThoseThatWaitForAnotherModel) {
  Caller first;
  Caller second;
  Start(&first);
  Start(&second);
  client_.FailWaiting(absl::FailedPreconditionError("another model"));
  EXPECT_TRUE(absl::IsFailedPrecondition(*first.status));
  EXPECT_TRUE(absl::IsFailedPrecondition(*second.status));
}

}  // namespace
}  // namespace baton::gateway
