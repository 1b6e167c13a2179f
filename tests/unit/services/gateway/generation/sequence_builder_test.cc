#include "services/gateway/generation/sequence_builder.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "tests/unit/common/tokenizer/small_tokenizer.h"

namespace baton::gateway {
namespace {

SequenceSpec SpecOf(const ServedModel& model, const AdmittedParams& params) {
  EncodedPrompt prompt;
  prompt.token_ids = {1, 2};
  prompt.reasoning = PromptReasoning::kOpen;
  std::vector<SequenceSpec> sequences;
  EXPECT_TRUE(
      AppendSequences(model, params, prompt, 10, {.split_reasoning = true}, &sequences).ok());
  return std::move(sequences.at(0));
}

AdmittedParams Constrained() {
  AdmittedParams params;
  params.constraint = std::make_shared<const structured::Constraint>();
  return params;
}

TEST(SequenceBuilder, AConstraintBeginsBehindTheTokenThatEndsTheReasoning) {
  const auto model =
      ServedModel::Load({.model_dir = std::string(BATON_SOURCE_DIR) + "/tests/data/tiny-r1"});
  ASSERT_TRUE(model.ok()) << model.status();
  const SequenceSpec spec = SpecOf(**model, Constrained());
  EXPECT_EQ(spec.submit.sampling().structured_output().begin_after_token_id(),
            (*model)->limits.reasoning->end);
  EXPECT_EQ(spec.text.reasoning, ReasoningFormat::kDeepSeekR1);
  EXPECT_TRUE(spec.text.starts_in_reasoning);
}

TEST(SequenceBuilder, WithoutThatTokenAConstrainedAnswerHasNoReasoning) {
  ServedModel model;
  model.text.tokenizer = Tokenizer::Create(SmallTokenizerJson().dump()).value();
  model.reasoning = ReasoningFormat::kDeepSeekR1;
  const SequenceSpec spec = SpecOf(model, Constrained());
  EXPECT_FALSE(spec.submit.sampling().structured_output().has_begin_after_token_id());
  EXPECT_EQ(spec.text.reasoning, ReasoningFormat::kNone) << "all of it is what is constrained";
  EXPECT_EQ(SpecOf(model, {}).text.reasoning, ReasoningFormat::kDeepSeekR1);
}

}  // namespace
}  // namespace baton::gateway
