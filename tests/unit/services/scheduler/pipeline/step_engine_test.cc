#include "services/scheduler/pipeline/step_engine.h"

#include <numeric>

#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/pipeline/step_engine_fixture.h"

namespace baton::scheduler {
namespace {

TEST_F(StepEngineTest, BecomesReadyWhenEveryStageHasJoined) {
  EXPECT_FALSE(state_->last.ready());
  group_.AddStage(1);
  group_.Settle();
  EXPECT_FALSE(state_->last.ready());
  EXPECT_EQ(state_->last.stages(0).phase(), v1::STAGE_PHASE_ABSENT);
  EXPECT_EQ(state_->last.stages(1).phase(), v1::STAGE_PHASE_JOINING);
  group_.AddStage(0);
  group_.Settle();
  EXPECT_TRUE(state_->last.ready());
  EXPECT_EQ(state_->last.epoch(), 1u);
  EXPECT_EQ(state_->last.num_total_blocks(), 16u);
  EXPECT_EQ(state_->last.max_model_len(), 128u);
  EXPECT_EQ(state_->last.model_fingerprint(), "simulated");
}

TEST_F(StepEngineTest, TellsWatchersTheStateWithEveryHeartbeat) {
  Complete();
  for (int beat = 0; beat < 10; ++beat) {
    const int before = state_->num_states;
    group_.Pass(absl::Milliseconds(250));
    EXPECT_GT(state_->num_states, before) << beat;
  }
}

TEST_F(StepEngineTest, AnswersARequestAndReleasesItOnEveryStage) {
  Complete();
  const SequenceId id = SubmitSmall();
  group_.Settle();
  ExpectAnswered(id);
  EXPECT_EQ(group_.caller(id).reason, v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(group_.stage(0)->state.num_sequences(), 0u);
  EXPECT_EQ(group_.stage(1)->state.num_used_blocks(), 0u);
}

class StepEngineLookaheadTest : public StepEngineTest {
 protected:
  StepEngineLookaheadTest() : StepEngineTest({.lookahead_steps = 1}) {}
};

TEST_F(StepEngineLookaheadTest, OrdersTheNextStepBeforeItsTokenIsReported) {
  Complete();
  const SequenceId id = SubmitSmall();
  ASSERT_TRUE(group_.StepStage(0));
  ASSERT_EQ(group_.stage(0)->inbox.size(), 1u);
  const v1::StepCommand& ahead = group_.stage(0)->inbox.front().step();
  EXPECT_EQ(ahead.step_id(), 2u);
  EXPECT_EQ(ahead.chunks(0).feedback_step_id(), 1u);
  EXPECT_EQ(ahead.chunks(0).appended_token_ids_size(), 0);
  group_.Settle();
  ExpectAnswered(id);
  EXPECT_EQ(group_.stage(1)->state.num_used_blocks(), 0u);
  EXPECT_TRUE(group_.violations().empty());
}

TEST_F(StepEngineLookaheadTest, StopsAtAStopTokenWithAStepAhead) {
  Complete();
  v1::SubmitRequest request = SimulatedGroup::MakeRequest(10, 6, 5);
  const uint32_t third = SimulatedGroup::Expected(request, 128)[2];
  request.mutable_stop()->add_stop_token_ids(third);
  const SequenceId id = group_.Submit(request);
  group_.Settle();
  EXPECT_EQ(group_.caller(id).stop_token, third);
  EXPECT_EQ(group_.caller(id).tokens.size(), 3u);
  EXPECT_EQ(group_.stage(0)->state.num_sequences(), 0u);
  EXPECT_TRUE(group_.violations().empty());
}

TEST_F(StepEngineTest, StopsAtAStopTokenAndReportsIt) {
  Complete();
  v1::SubmitRequest request = SimulatedGroup::MakeRequest(10, 6, 5);
  const uint32_t third = SimulatedGroup::Expected(request, 128)[2];
  request.mutable_stop()->add_stop_token_ids(third);
  const SequenceId id = group_.Submit(request);
  group_.Settle();
  EXPECT_EQ(group_.caller(id).reason, v1::FINISH_REASON_STOP);
  EXPECT_EQ(group_.caller(id).stop_token, third);
  EXPECT_EQ(group_.caller(id).tokens.back(), third);
}

TEST_F(StepEngineTest, TellsTheStagesWhatMinTokensKeepsFromBeingDrawn) {
  Complete();
  v1::SubmitRequest request = SimulatedGroup::MakeRequest(10, 6, 5);
  request.mutable_stop()->set_min_tokens(4);
  request.mutable_stop()->add_stop_token_ids(9);
  group_.Submit(request);
  ASSERT_FALSE(group_.stage(1)->inbox.empty());
  const v1::SamplingParams& sampling =
      group_.stage(1)->inbox.front().step().new_sequences(0).sampling();
  EXPECT_EQ(sampling.min_tokens(), 4u);
  ASSERT_EQ(sampling.masked_token_ids_size(), 2);
  EXPECT_EQ(sampling.masked_token_ids(0), SimulatedGroup::kEos);
  EXPECT_EQ(sampling.masked_token_ids(1), 9u);
}

TEST_F(StepEngineTest, RefusesMinTokensThatLeaveNothingToDraw) {
  Complete();
  v1::SubmitRequest request = SimulatedGroup::MakeRequest(10, 6, 5);
  request.mutable_stop()->set_min_tokens(4);
  request.mutable_sampling()->add_allowed_token_ids(SimulatedGroup::kEos);
  EXPECT_TRUE(absl::IsInvalidArgument(*group_.caller(group_.Submit(request)).status));
}

TEST_F(StepEngineTest, SendsPromptLogprobsWithTheFirstToken) {
  Complete();
  v1::SubmitRequest request = SimulatedGroup::MakeRequest(70, 2, 5);
  request.mutable_sampling()->set_num_prompt_logprobs(0);
  const SequenceId id = group_.Submit(request);
  group_.Settle();
  ASSERT_EQ(group_.caller(id).prompt_logprobs.size(), 69u);
  for (int i = 1; i < 70; ++i) {
    EXPECT_EQ(group_.caller(id).prompt_logprobs[i - 1].token().token_id(),
              request.prompt_token_ids(i));
  }
}

TEST_F(StepEngineTest, TellsCallersAndWatchersWhatWasCached) {
  Complete();
  // Blocks of 8 tokens: two of the prompt are full.
  const SequenceId first = group_.Submit(SimulatedGroup::MakeRequest(20, 6, 5, 1));
  group_.Settle();
  const SequenceId second = group_.Submit(SimulatedGroup::MakeRequest(20, 6, 6, 1));
  const SequenceId third = group_.Submit(SimulatedGroup::MakeRequest(20, 6, 6, 1));
  v1::SubmitRequest salted = SimulatedGroup::MakeRequest(20, 6, 6, 1);
  salted.set_cache_salt("salt");
  const SequenceId fourth = group_.Submit(salted);
  group_.Settle();
  for (SequenceId id : {first, second, third, fourth}) ExpectAnswered(id);
  EXPECT_EQ(group_.caller(first).num_cached, 0u);
  EXPECT_EQ(group_.caller(second).num_cached, 16u);
  EXPECT_EQ(group_.caller(third).num_cached, 16u);
  EXPECT_EQ(group_.caller(fourth).num_cached, 0u);
  group_.Pass(absl::Milliseconds(300));
  EXPECT_EQ(state_->last.num_prefix_query_tokens(), 80u);
  EXPECT_EQ(state_->last.num_prefix_hit_tokens(), 32u);
  EXPECT_EQ(state_->last.num_evicted_blocks(), 0u);
  EXPECT_EQ(state_->last.num_used_blocks(), 0u);
  EXPECT_TRUE(group_.violations().empty());
}

// With stages of one form of attention, and with such as expand prompts.
class StepEngineFormTest : public StepEngineTest, public testing::WithParamInterface<bool> {
 protected:
  StepEngineFormTest() : StepEngineTest({.expands_prompts = GetParam()}) {}
};
INSTANTIATE_TEST_SUITE_P(Forms, StepEngineFormTest, testing::Bool(),
                         [](const auto& form) { return form.param ? "Expanded" : "Absorbed"; });

TEST_P(StepEngineFormTest, ALaterTurnFindsAnAnswerUnlessPromptsAreExpanded) {
  Complete();
  // Blocks of 8 tokens: two of the prompt are full, the third has tokens of the answer.
  v1::SubmitRequest turn = SimulatedGroup::MakeRequest(20, 6, 5);
  const SequenceId first = group_.Submit(turn);
  group_.Settle();
  ExpectAnswered(first);
  for (const uint32_t token : group_.caller(first).tokens) turn.add_prompt_token_ids(token);
  const SequenceId second = group_.Submit(turn);
  group_.Settle();
  ExpectAnswered(second);
  EXPECT_EQ(group_.caller(second).num_cached, GetParam() ? 16u : 24u);
}

TEST_P(StepEngineFormTest, RefusesAWorkerOfAnotherForm) {
  group_.AddStage(0);
  const auto other = group_.AddStage(1, !GetParam());
  ASSERT_TRUE(other->closed.has_value());
  EXPECT_TRUE(absl::IsAborted(*other->closed)) << *other->closed;
  group_.AddStage(1);
  group_.Settle();
  EXPECT_TRUE(state_->last.ready());
}

// The group is started anew with the other form, and nobody knows yet that an old worker is gone.
TEST_P(StepEngineFormTest, WorkersOfAnotherFormTakeOverWhenTheOldOnesAreFoundDead) {
  Complete();
  group_.stage(1)->frozen = true;
  group_.KillStage(0);
  const auto early = group_.AddStage(0, !GetParam());
  ASSERT_TRUE(early->closed.has_value());
  EXPECT_TRUE(absl::IsAborted(*early->closed)) << "it is to try again: " << *early->closed;
  for (int i = 0; i < 5; ++i) group_.Pass(absl::Milliseconds(250));
  group_.AddStage(0, !GetParam());
  group_.AddStage(1, !GetParam());
  group_.Settle();
  EXPECT_TRUE(state_->last.ready());
  const SequenceId id = SubmitSmall();
  group_.Settle();
  ExpectAnswered(id);
}

// Which positions are expanded follows from the prompt that was asked for: a gateway that submits a
// sequence a second time, to another scheduler, changes nothing of it.
TEST_P(StepEngineFormTest, TellsTheStagesThePromptOfAResumedSequence) {
  Complete();
  v1::SubmitRequest request = SimulatedGroup::MakeRequest(20, 30, 5);
  const std::vector<uint32_t> all = SimulatedGroup::Expected(request, 128);
  request.mutable_resumed_token_ids()->Add(all.begin(), all.begin() + 8);
  group_.Submit(request);
  ASSERT_EQ(group_.stage(1)->inbox.size(), 1u);
  const v1::NewSequence& learned = group_.stage(1)->inbox.front().step().new_sequences(0);
  EXPECT_EQ(learned.token_ids_size(), 28);
  EXPECT_EQ(learned.num_prompt_tokens(), 20u);
}

TEST_F(StepEngineTest, TellsWatchersTheSizesOfSteps) {
  Complete();
  // One step has the prompt of 10 tokens, each of the others one token.
  const SequenceId id = SubmitSmall();
  group_.Settle();
  ExpectAnswered(id);
  group_.Pass(absl::Milliseconds(300));
  const v1::StepTokenState& steps = state_->last.step_tokens();
  ASSERT_EQ(steps.num_steps_size(), 14);
  EXPECT_EQ(steps.num_steps(0), 5u);  // of 1
  EXPECT_EQ(steps.num_steps(2), 1u);  // of 9 to 16
  EXPECT_EQ(std::accumulate(steps.num_steps().begin(), steps.num_steps().end(), uint64_t{0}), 6u);
  EXPECT_EQ(steps.num_tokens(), 15u);
  EXPECT_EQ(state_->last.block_tokens(), 8u);
  EXPECT_EQ(state_->last.drafts().num_runs(), 0u);
}

TEST_F(StepEngineTest, GivesAllPromptLogprobsOfACachedPrompt) {
  Complete();
  const SequenceId first = group_.Submit(SimulatedGroup::MakeRequest(20, 6, 5, 1));
  group_.Settle();
  v1::SubmitRequest request = SimulatedGroup::MakeRequest(20, 6, 6, 1);
  request.mutable_sampling()->set_num_prompt_logprobs(0);
  const SequenceId second = group_.Submit(request);
  group_.Settle();
  ExpectAnswered(first);
  ExpectAnswered(second);
  EXPECT_EQ(group_.caller(second).prompt_logprobs.size(), 19u);
  EXPECT_EQ(group_.caller(second).num_cached, 0u);
}

class StepEngineFaultTest : public StepEngineTest {
 protected:
  // The last stage reports `fault` instead of the first token of `bad`.
  void ReportFault(SequenceId bad, v1::SequenceFault fault) {
    group_.StepStage(0);
    v1::WorkerMessage message;
    *message.mutable_report() = group_.stage(1)->state.Run(group_.stage(1)->inbox.front().step());
    group_.stage(1)->inbox.pop_front();
    message.mutable_report()->clear_tokens();
    fault.set_sequence_id(bad);
    *message.mutable_report()->add_faults() = std::move(fault);
    group_.engine().Take(StageMessageEvent{group_.stage(1), message}, group_.now());
    group_.Pass(absl::ZeroDuration());
    EXPECT_EQ(group_.caller(bad).reason, v1::FINISH_REASON_ERROR);
  }
};

TEST_F(StepEngineFaultTest, EndsAFaultySequenceAlone) {
  Complete();
  const SequenceId bad = SubmitSmall(1);
  const SequenceId good = SubmitSmall(2);
  v1::SequenceFault fault;
  fault.set_message("logits not finite at position 9");
  ReportFault(bad, fault);
  EXPECT_TRUE(absl::IsInternal(*group_.caller(bad).status)) << *group_.caller(bad).status;
  group_.Settle();
  ExpectAnswered(good);
}

TEST_F(StepEngineFaultTest, TellsTheCallerThatItsRequestIsAtFault) {
  Complete();
  const SequenceId bad = SubmitSmall(1);
  const SequenceId good = SubmitSmall(2);
  v1::SequenceFault fault;
  fault.set_message("none of allowed_token_ids can follow");
  fault.set_caused_by_request(true);
  ReportFault(bad, fault);
  EXPECT_EQ(*group_.caller(bad).status,
            absl::InvalidArgumentError("none of allowed_token_ids can follow"));
  EXPECT_EQ(group_.caller(bad).retry_after, absl::ZeroDuration());
  group_.Settle();
  ExpectAnswered(good);
}

TEST_F(StepEngineFaultTest, TellsTheCallerWhenToComeAgainIfOthersFillAStage) {
  Complete();
  const SequenceId bad = SubmitSmall(1);
  const SequenceId good = SubmitSmall(2);
  v1::SequenceFault fault;
  fault.set_message("no room for the constraint");
  fault.set_overloaded(true);
  ReportFault(bad, fault);
  EXPECT_EQ(*group_.caller(bad).status, absl::ResourceExhaustedError("no room for the constraint"));
  EXPECT_GT(group_.caller(bad).retry_after, absl::ZeroDuration());
  group_.Settle();
  ExpectAnswered(good);
}

TEST_F(StepEngineTest, EndsTheSequenceOfACallerThatIsGone) {
  Complete();
  const SequenceId id = SubmitSmall();
  group_.caller(id).gone = true;
  group_.Settle();
  EXPECT_TRUE(absl::IsCancelled(*group_.caller(id).status));
  EXPECT_EQ(group_.stage(0)->state.num_sequences(), 0u);
}

TEST_F(StepEngineTest, DrainsWhatRunsAndLetsTheStagesLeave) {
  Complete();
  const SequenceId id = SubmitSmall();
  group_.engine().Take(DrainEvent{absl::Seconds(30)}, group_.now());
  group_.Pass(absl::ZeroDuration());
  EXPECT_FALSE(state_->last.ready());
  const SequenceId late = SubmitSmall();
  EXPECT_TRUE(absl::IsUnavailable(*group_.caller(late).status));
  EXPECT_EQ(group_.caller(late).retry_after, absl::ZeroDuration());  // the next scheduler's
  EXPECT_FALSE(group_.engine().stopped());
  group_.Settle();
  ExpectAnswered(id);
  EXPECT_TRUE(group_.engine().stopped());
}

TEST_F(StepEngineTest, TakesAStageBackWhileItDrains) {
  Complete();
  const SequenceId id = SubmitSmall();
  group_.engine().Take(DrainEvent{absl::Seconds(30)}, group_.now());
  group_.KillStage(1);
  group_.AddStage(1);
  group_.Settle();
  ExpectAnswered(id);
  EXPECT_TRUE(group_.engine().stopped());
}

TEST_F(StepEngineTest, AbortsWhatIsLeftAtTheDrainsDeadline) {
  Complete();
  const SequenceId id = SubmitSmall();
  group_.engine().Take(DrainEvent{absl::Milliseconds(200)}, group_.now());
  group_.Pass(absl::Milliseconds(250));
  EXPECT_TRUE(absl::IsUnavailable(*group_.caller(id).status));
  EXPECT_EQ(group_.caller(id).reason, v1::FINISH_REASON_ABORT);
  group_.Settle();
  EXPECT_TRUE(group_.engine().stopped());
}

}  // namespace
}  // namespace baton::scheduler
