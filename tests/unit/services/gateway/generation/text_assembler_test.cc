#include "services/gateway/generation/text_assembler.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace baton::gateway {
namespace {

std::shared_ptr<const StopAutomaton> Stops(const std::vector<std::string>& stops,
                                           bool include_stop = false) {
  return std::make_shared<const StopAutomaton>(
      StopAutomaton::Options{.stops = stops, .include_stop = include_stop});
}

class TextAssemblerTest : public testing::Test {
 protected:
  void SetUp() override {
    auto tokenizer = Tokenizer::CreateFromFile(std::string(BATON_SOURCE_DIR) +
                                               "/tests/data/tiny-r1/tokenizer.json");
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    tokenizer_ = std::move(*tokenizer);
  }

  // The text of the tokens of `text`, and how many of them were taken before a stop.
  TextDelta Run(const std::string& text, const TextOptions& options, size_t* num_taken,
                bool ended_by_token = false) {
    TextAssembler assembler(*tokenizer_, options);
    TextDelta out;
    *num_taken = 0;
    const std::vector<uint32_t> ids = tokenizer_->Encode(text).value();
    for (uint32_t id : ids) {
      if (assembler.stopped()) break;
      assembler.Push(id, &out);
      ++*num_taken;
    }
    assembler.Finish(ended_by_token, &out);
    return out;
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  size_t num_taken_ = 0;
};

TEST_F(TextAssemblerTest, PassesTextThrough) {
  const std::string text = "plain 文字 and 🎉";
  EXPECT_EQ(Run(text, {}, &num_taken_).content, text);
}

TEST_F(TextAssemblerTest, CutsAtAStopStringAndStopsCounting) {
  TextOptions options;
  options.stops = Stops({"three"});
  const std::string text = "one two three four five six";
  EXPECT_EQ(Run(text, options, &num_taken_).content, "one two ");
  EXPECT_LT(num_taken_, tokenizer_->Encode(text).value().size());
  options.stops = Stops({"three"}, /*include_stop=*/true);
  EXPECT_EQ(Run(text, options, &num_taken_).content, "one two three");
}

TEST_F(TextAssemblerTest, AStopStringBeforeMinTokensDoesNotEndTheSequence) {
  TextOptions options;
  options.stops = Stops({"b"});
  const std::string text = "a b c b c";
  ASSERT_EQ(Run(text, options, &num_taken_).content, "a ");
  options.min_tokens = static_cast<uint32_t>(num_taken_);
  EXPECT_EQ(Run(text, options, &num_taken_).content, "a ") << "complete with the last of them";
  options.min_tokens = static_cast<uint32_t>(num_taken_ + 1);
  EXPECT_EQ(Run(text, options, &num_taken_).content, "a b c ");
  options.min_tokens = 100;
  EXPECT_EQ(Run(text, options, &num_taken_).content, text);
}

TEST_F(TextAssemblerTest, SplitsReasoning) {
  TextOptions options;
  options.reasoning = ReasoningFormat::kDeepSeekR1;
  options.starts_in_reasoning = true;
  const TextDelta out = Run("why</think>what", options, &num_taken_);
  EXPECT_EQ(out.reasoning, "why");
  EXPECT_EQ(out.content, "what");
}

// Constraints and budgets go by the token that ends the reasoning: so does the split.
TEST_F(TextAssemblerTest, ReasoningEndsAtItsTokenAndNotWhereThatIsSpelled) {
  std::vector<uint32_t> ids;
  for (const char* part : {"why</", "think>no", "</think>", "{}</", "think>"}) {
    const std::vector<uint32_t> more = tokenizer_->Encode(part).value();
    ids.insert(ids.end(), more.begin(), more.end());
  }
  const uint32_t end = tokenizer_->TokenId("</think>").value();
  ASSERT_EQ(std::count(ids.begin(), ids.end(), end), 1);
  for (const std::vector<std::string>& stops : {std::vector<std::string>{}, {"no</thinking>"}}) {
    TextOptions options;
    options.reasoning = ReasoningFormat::kDeepSeekR1;
    options.starts_in_reasoning = true;
    options.stops = Stops(stops);
    TextAssembler assembler(*tokenizer_, options);
    TextDelta out;
    for (const uint32_t id : ids) assembler.Push(id, &out);
    assembler.Finish(/*ended_by_token=*/false, &out);
    EXPECT_EQ(out.reasoning, "why</think>no");
    EXPECT_EQ(out.content, "{}</think>");
    EXPECT_EQ(assembler.num_reasoning_tokens(),
              std::find(ids.begin(), ids.end(), end) - ids.begin() + 1);
  }
}

TEST_F(TextAssemblerTest, TheEndingTokenIsNoTextUnlessAskedFor) {
  TextOptions options;
  const std::string text = "a b b";
  options.terminal_token_ids = {tokenizer_->Encode(text).value().back()};
  EXPECT_EQ(Run(text, options, &num_taken_, /*ended_by_token=*/true).content, "a b");
  EXPECT_EQ(Run(text, options, &num_taken_, /*ended_by_token=*/false).content, text);
  options.include_stop = true;
  EXPECT_EQ(Run(text, options, &num_taken_, /*ended_by_token=*/true).content, text);
}

}  // namespace
}  // namespace baton::gateway
