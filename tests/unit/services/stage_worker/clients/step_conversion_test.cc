#include "services/stage_worker/clients/step_conversion.h"

#include <limits>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "gtest/gtest.h"

namespace baton::stage {
namespace {

v1::StepCommand ExampleStep() {
  v1::StepCommand command;
  command.set_epoch(3);
  command.set_step_id(9);
  command.set_work_waited(true);
  v1::NewSequence* sequence = command.add_new_sequences();
  sequence->set_sequence_id(7);
  sequence->add_token_ids(11);
  sequence->add_token_ids(12);
  sequence->set_num_prompt_tokens(2);
  sequence->set_num_cached_tokens(64);  // whether it makes sense is not judged here
  v1::SamplingParams* sampling = sequence->mutable_sampling();
  sampling->set_temperature(0.5f);
  sampling->set_top_p(0.9f);
  sampling->set_top_k(40);
  sampling->set_min_p(0.1f);
  sampling->set_presence_penalty(-1.0f);
  sampling->set_frequency_penalty(1.5f);
  sampling->set_repetition_penalty(1.1f);
  sampling->set_seed(99);
  sampling->set_logprobs(true);
  sampling->set_num_top_logprobs(5);
  sampling->set_num_prompt_logprobs(0);
  sampling->add_allowed_token_ids(4);
  sampling->set_min_tokens(8);
  sampling->add_masked_token_ids(3);
  for (uint32_t token : {31, 32}) sampling->add_banned_sequences()->add_token_ids(token);
  sampling->mutable_banned_sequences(1)->add_token_ids(33);
  sampling->mutable_reasoning_budget()->set_num_tokens(10);
  sampling->mutable_reasoning_budget()->set_end_token_id(41);
  sampling->mutable_reasoning_budget()->set_begin_after_token_id(42);
  v1::LogitBias* bias = sampling->add_logit_bias();
  bias->set_token_id(6);
  bias->set_bias(-2.0f);
  v1::SequenceChunk* chunk = command.add_chunks();
  chunk->set_sequence_id(7);
  chunk->set_begin(1);
  chunk->set_num_tokens(1);
  chunk->add_appended_token_ids(13);
  chunk->add_new_block_ids(21);
  chunk->set_sample(true);
  chunk->set_feedback_step_id(8);
  chunk->add_draft_token_ids(14);
  command.add_finished_sequence_ids(5);
  return command;
}

TEST(DecodeStep, KeepsEveryField) {
  const auto work = DecodeStep(ExampleStep());
  ASSERT_TRUE(work.ok()) << work.status();
  EXPECT_EQ(work->epoch, 3u);
  EXPECT_EQ(work->step_id, 9u);
  EXPECT_TRUE(work->work_waited);
  ASSERT_EQ(work->new_sequences.size(), 1u);
  const NewSequenceWork& sequence = work->new_sequences[0];
  EXPECT_EQ(sequence.sequence_id, 7u);
  EXPECT_EQ(sequence.token_ids, (std::vector<uint32_t>{11, 12}));
  EXPECT_EQ(sequence.num_prompt_tokens, 2u);
  EXPECT_EQ(sequence.num_cached_tokens, 64u);
  const SamplingSettings& sampling = sequence.sampling;
  EXPECT_EQ(sampling.temperature, 0.5f);
  EXPECT_EQ(sampling.top_p, 0.9f);
  EXPECT_EQ(sampling.top_k, 40u);
  EXPECT_EQ(sampling.min_p, 0.1f);
  EXPECT_EQ(sampling.presence_penalty, -1.0f);
  EXPECT_EQ(sampling.frequency_penalty, 1.5f);
  EXPECT_EQ(sampling.repetition_penalty, 1.1f);
  EXPECT_EQ(sampling.seed, 99u);
  EXPECT_TRUE(sampling.logprobs);
  EXPECT_EQ(sampling.num_top_logprobs, 5u);
  EXPECT_EQ(sampling.num_prompt_logprobs, 0u);  // asked for, with no alternatives
  EXPECT_EQ(sampling.allowed_token_ids, std::vector<uint32_t>{4});
  EXPECT_EQ(sampling.min_tokens, 8u);
  EXPECT_EQ(sampling.masked_token_ids, std::vector<uint32_t>{3});
  EXPECT_EQ(sampling.banned_sequences, (std::vector<std::vector<uint32_t>>{{31}, {32, 33}}));
  ASSERT_TRUE(sampling.reasoning_budget.has_value());
  EXPECT_EQ(sampling.reasoning_budget->num_tokens, 10u);
  EXPECT_EQ(sampling.reasoning_budget->end_token_id, 41u);
  EXPECT_EQ(sampling.reasoning_budget->begin_after_token_id, 42u);
  ASSERT_EQ(sampling.logit_bias.size(), 1u);
  EXPECT_EQ(sampling.logit_bias[0].token_id, 6u);
  EXPECT_EQ(sampling.logit_bias[0].bias, -2.0f);
  ASSERT_EQ(work->chunks.size(), 1u);
  const ChunkWork& chunk = work->chunks[0];
  EXPECT_EQ(chunk.sequence_id, 7u);
  EXPECT_EQ(chunk.begin, 1u);
  EXPECT_EQ(chunk.num_tokens, 1u);
  EXPECT_EQ(chunk.feedback_step_id, 8u);
  EXPECT_EQ(chunk.draft_token_ids, std::vector<uint32_t>{14});
  EXPECT_EQ(chunk.appended_token_ids, std::vector<uint32_t>{13});
  EXPECT_EQ(chunk.new_block_ids, std::vector<uint32_t>{21});
  EXPECT_TRUE(chunk.sample);
  EXPECT_EQ(work->finished_sequence_ids, std::vector<uint64_t>{5});
}

TEST(DecodeStep, RefusesSamplingValuesOutOfRange) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  using Change = void (*)(v1::SamplingParams&, float);
  struct Case {
    const char* field;
    Change change;
    std::vector<float> values;
  };
  const std::vector<Case> cases = {
      {"temperature",
       [](v1::SamplingParams& p, float v) { p.set_temperature(v); },
       {-0.1f, 2.1f, nan}},
      {"top_p", [](v1::SamplingParams& p, float v) { p.set_top_p(v); }, {0.0f, 1.1f, nan}},
      {"min_p", [](v1::SamplingParams& p, float v) { p.set_min_p(v); }, {-0.1f, 1.1f, nan}},
      {"presence_penalty",
       [](v1::SamplingParams& p, float v) { p.set_presence_penalty(v); },
       {-2.1f, 2.1f, nan}},
      {"frequency_penalty",
       [](v1::SamplingParams& p, float v) { p.set_frequency_penalty(v); },
       {-2.1f, 2.1f, nan}},
      {"repetition_penalty",
       [](v1::SamplingParams& p, float v) { p.set_repetition_penalty(v); },
       {0.0f, -1.0f, nan, std::numeric_limits<float>::infinity()}},
      {"logit_bias",
       [](v1::SamplingParams& p, float v) { p.mutable_logit_bias(0)->set_bias(v); },
       {-100.1f, 100.1f, nan}},
  };
  for (const Case& c : cases) {
    for (const float value : c.values) {
      v1::StepCommand command = ExampleStep();
      c.change(*command.mutable_new_sequences(0)->mutable_sampling(), value);
      const absl::Status status = DecodeStep(command).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << c.field << " " << value;
      EXPECT_TRUE(absl::StrContains(status.message(), c.field)) << status;
      EXPECT_TRUE(absl::StrContains(status.message(), "sequence 7")) << status;
    }
  }
}

TEST(DecodeStep, KeepsStructuredOutput) {
  EXPECT_EQ(DecodeStep(ExampleStep())->new_sequences[0].sampling.structured, nullptr);
  v1::StepCommand command = ExampleStep();
  v1::StructuredOutput* output =
      command.mutable_new_sequences(0)->mutable_sampling()->mutable_structured_output();
  output->set_kind(v1::StructuredOutput::KIND_CHOICE);
  output->set_text("text");
  output->add_choices("a");
  output->set_compact(true);
  output->set_whitespace_pattern(" ?");
  output->set_begin_after_token_id(12);
  output->add_end_token_ids(1);
  const auto work = DecodeStep(command);
  ASSERT_TRUE(work.ok()) << work.status();
  const StructuredSettings& structured = *work->new_sequences[0].sampling.structured;
  EXPECT_EQ(structured.constraint.kind, structured::ConstraintKind::kChoice);
  EXPECT_EQ(structured.constraint.text, "text");
  EXPECT_EQ(structured.constraint.choices, std::vector<std::string>{"a"});
  EXPECT_TRUE(structured.constraint.compact);
  EXPECT_EQ(structured.constraint.whitespace_pattern, " ?");
  EXPECT_EQ(structured.begin_after_token_id, 12u);
  EXPECT_EQ(structured.end_token_ids, std::vector<uint32_t>{1});
}

TEST(DecodeStep, RefusesStructuredOutputOutOfRange) {
  const auto refused = [](const auto& change) {
    v1::StepCommand command = ExampleStep();
    v1::StructuredOutput* output =
        command.mutable_new_sequences(0)->mutable_sampling()->mutable_structured_output();
    output->set_kind(v1::StructuredOutput::KIND_REGEX);
    output->add_end_token_ids(1);
    change(output);
    return !DecodeStep(command).ok();
  };
  using Output = v1::StructuredOutput;
  EXPECT_FALSE(refused([](Output*) {}));
  EXPECT_TRUE(refused([](Output* output) { output->clear_kind(); }));
  EXPECT_TRUE(refused([](Output* output) { output->set_kind(static_cast<Output::Kind>(99)); }));
  EXPECT_TRUE(refused([](Output* output) { output->clear_end_token_ids(); }));
  EXPECT_TRUE(refused([](Output* output) { output->set_text(std::string(300'000, 'a')); }));
  EXPECT_TRUE(refused([](Output* output) {
    output->add_choices(std::string(200'000, 'a'));
    output->add_choices(std::string(200'000, 'b'));
  }));
  EXPECT_TRUE(
      refused([](Output* output) { output->set_whitespace_pattern(std::string(5'000, 'a')); }));
}

TEST(DecodeStep, RefusesTooManyAlternativesAndBiases) {
  v1::StepCommand command = ExampleStep();
  command.mutable_new_sequences(0)->mutable_sampling()->set_num_top_logprobs(21);
  EXPECT_FALSE(DecodeStep(command).ok());
  command = ExampleStep();
  command.mutable_new_sequences(0)->mutable_sampling()->set_num_prompt_logprobs(21);
  EXPECT_FALSE(DecodeStep(command).ok());
  command = ExampleStep();
  for (int i = 0; i < 1024; ++i) {
    command.mutable_new_sequences(0)->mutable_sampling()->add_logit_bias();
  }
  EXPECT_FALSE(DecodeStep(command).ok());
}

TEST(EncodeReport, KeepsEveryField) {
  StepResult result;
  result.epoch = 3;
  result.step_id = 9;
  result.queue_us = 1;
  result.receive_us = 2;
  result.compute_us = 3;
  result.send_us = 4;
  result.gap_us = 5;
  const PositionScores scores = {.token = {11, -0.5f, 2}, .top = {{12, -0.25f, 1}}};
  result.output.tokens.push_back(
      {.sequence_id = 7, .position = 5, .token_id = 11, .logprobs = scores});
  result.output.tokens.push_back({.sequence_id = 8, .position = 6, .token_id = 13});
  result.output.prompt_scores.push_back({.sequence_id = 7, .begin = 1, .positions = {scores}});
  result.output.failures.push_back({.sequence_id = 4, .message = "not finite"});
  result.output.failures.push_back(
      {.sequence_id = 5, .message = "no token can follow", .caused_by_request = true});
  result.output.failures.push_back({.sequence_id = 6, .message = "no room", .overloaded = true});
  result.output.drafts.push_back({.sequence_id = 8, .token_ids = {15, 16}});
  const v1::StepReport report = EncodeReport(result);
  EXPECT_EQ(report.epoch(), 3u);
  EXPECT_EQ(report.step_id(), 9u);
  EXPECT_EQ(report.queue_us(), 1u);
  EXPECT_EQ(report.receive_us(), 2u);
  EXPECT_EQ(report.compute_us(), 3u);
  EXPECT_EQ(report.send_us(), 4u);
  EXPECT_EQ(report.gap_us(), 5u);
  ASSERT_EQ(report.tokens_size(), 2);
  EXPECT_EQ(report.tokens(0).sequence_id(), 7u);
  EXPECT_EQ(report.tokens(0).position(), 5u);
  EXPECT_EQ(report.tokens(0).token_id(), 11u);
  EXPECT_EQ(report.tokens(0).logprobs().token().rank(), 2u);
  EXPECT_EQ(report.tokens(0).logprobs().token().logprob(), -0.5f);
  ASSERT_EQ(report.tokens(0).logprobs().top_size(), 1);
  EXPECT_EQ(report.tokens(0).logprobs().top(0).token_id(), 12u);
  EXPECT_FALSE(report.tokens(1).has_logprobs());
  ASSERT_EQ(report.prompt_logprobs_size(), 1);
  EXPECT_EQ(report.prompt_logprobs(0).begin(), 1u);
  EXPECT_EQ(report.prompt_logprobs(0).positions_size(), 1);
  ASSERT_EQ(report.drafts_size(), 1);
  EXPECT_EQ(report.drafts(0).sequence_id(), 8u);
  ASSERT_EQ(report.drafts(0).token_ids_size(), 2);
  EXPECT_EQ(report.drafts(0).token_ids(1), 16u);
  ASSERT_EQ(report.faults_size(), 3);
  EXPECT_EQ(report.faults(0).sequence_id(), 4u);
  EXPECT_EQ(report.faults(0).message(), "not finite");
  EXPECT_FALSE(report.faults(0).caused_by_request());
  EXPECT_FALSE(report.faults(0).overloaded());
  EXPECT_TRUE(report.faults(1).caused_by_request());
  EXPECT_FALSE(report.faults(1).overloaded());
  EXPECT_FALSE(report.faults(2).caused_by_request());
  EXPECT_TRUE(report.faults(2).overloaded());
}

}  // namespace
}  // namespace baton::stage
