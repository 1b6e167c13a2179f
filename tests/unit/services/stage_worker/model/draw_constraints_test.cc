#include "services/stage_worker/model/draw_constraints.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::stage {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint32_t kEnd = 256;
constexpr uint32_t kThink = 257;
constexpr size_t kVocabSize = 4000;

// All bytes, an end token, a token that ends the reasoning, and many long tokens.
std::shared_ptr<const structured::VocabularyTrie> MakeBytes() {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.push_back(std::string(1, static_cast<char>(byte)));
  tokens.resize(258);
  while (tokens.size() < kVocabSize) tokens.push_back("t" + std::to_string(tokens.size()));
  return std::make_shared<structured::VocabularyTrie>(tokens, kVocabSize);
}

// Compiling takes no time: however slow the machine is, no step has waited for long enough.
ConstraintOptions Options(size_t capacity_bytes = size_t{64} << 20) {
  ConstraintOptions options;
  options.capacity_bytes = capacity_bytes;
  options.now = [] { return std::chrono::steady_clock::time_point(); };
  return options;
}

class DrawConstraintsTest : public testing::Test {
 protected:
  DrawConstraintsTest() { constraints_.SetVocabulary(MakeBytes()); }

  static SamplingSettings Choosing(std::vector<std::string> choices) {
    auto structured = std::make_shared<StructuredSettings>();
    structured->constraint.kind = structured::ConstraintKind::kChoice;
    structured->constraint.choices = std::move(choices);
    structured->end_token_ids = {kEnd};
    SamplingSettings settings;
    settings.structured = structured;
    return settings;
  }

  static DrawRow Row(SamplingSettings settings, std::vector<uint32_t> answer = {}) {
    DrawRow draw;
    draw.sequence_id = 5;
    draw.sampling = std::make_shared<const SamplingSettings>(std::move(settings));
    draw.answer_tokens = std::move(answer);
    return draw;
  }

  // At the begin of its reasoning, of which the answer must be `choice` behind it.
  static DrawRow Reasoning(uint64_t id, const std::string& choice) {
    SamplingSettings settings = Choosing({choice});
    auto structured = std::make_shared<StructuredSettings>(*settings.structured);
    structured->begin_after_token_id = kThink;
    settings.structured = structured;
    DrawRow draw = Row(settings);
    draw.sequence_id = id;
    return draw;
  }

  std::vector<uint32_t> AllowedAt(const DrawRow& draw) {
    const auto tokens = constraints_.TokensFor(draw);
    EXPECT_TRUE(tokens.ok()) << tokens.status();
    return tokens.ok() ? tokens->allowed : std::vector<uint32_t>();
  }

  DrawConstraints constraints_{Options()};
};

TEST_F(DrawConstraintsTest, FollowsTheAnswer) {
  DrawRow draw = Row(Choosing({"ab", "ac"}));
  EXPECT_THAT(AllowedAt(draw), ElementsAre('a'));
  draw.answer_tokens = {'a'};
  EXPECT_THAT(AllowedAt(draw), ElementsAre('b', 'c'));
  draw.answer_tokens = {'a', 'c'};
  EXPECT_THAT(AllowedAt(draw), ElementsAre(kEnd));
  draw.answer_tokens = {'a', 'c', kEnd};  // ignore_eos: still nothing else
  EXPECT_THAT(AllowedAt(draw), ElementsAre(kEnd));
  EXPECT_EQ(constraints_.num_compiled(), 1u);
}

TEST_F(DrawConstraintsTest, ASequenceThatComesBackIsWhereItsTokensSay) {
  AllowedAt(Row(Choosing({"ab", "ac"}), {'a', 'b'}));
  EXPECT_THAT(AllowedAt(Row(Choosing({"xyz"}), {'x', 'y'})), ElementsAre('z'));
  EXPECT_THAT(AllowedAt(Row(Choosing({"ab", "ac"}), {'a'})), ElementsAre('b', 'c'));
  EXPECT_EQ(constraints_.num_sequences(), 1u);
}

TEST_F(DrawConstraintsTest, ForgetsSequencesThatNobodyKnows) {
  for (uint64_t id = 0; id < 1000; ++id) {
    DrawRow draw = Row(Choosing({"ab"}));
    draw.sequence_id = id;
    AllowedAt(draw);
  }
  EXPECT_LT(constraints_.num_sequences(), 100u);
}

TEST_F(DrawConstraintsTest, AllowsTheSameWhenItWasCompiledAhead) {
  const std::vector<std::vector<uint32_t>> answers = {{}, {'a'}, {'a', 'c'}};
  const SamplingSettings settings = Choosing({"ab", "ac"});
  DrawConstraints other;
  other.SetVocabulary(MakeBytes());
  other.Prepare(settings);
  for (const std::vector<uint32_t>& answer : answers) {
    const DrawRow draw = Row(settings, answer);
    EXPECT_EQ(other.TokensFor(draw)->allowed, AllowedAt(draw));
  }
  EXPECT_EQ(other.num_compiled(), 1u);
}

TEST_F(DrawConstraintsTest, KeepsToItsBudgetAndGoesOn) {
  constexpr size_t kSmallBudget = size_t{8} << 20;
  constexpr size_t kNumSequences = 9;
  constexpr size_t kNumLetters = 4000;
  const auto row = [](uint64_t id) {
    std::string text;
    for (size_t i = 0; i < kNumLetters; ++i) text += static_cast<char>('a' + (i + id) % 25);
    DrawRow draw = Row(Choosing({text + "z"}), std::vector<uint32_t>(text.begin(), text.end()));
    draw.sequence_id = id;
    return draw;
  };
  AllowedAt(row(0));
  ASSERT_GT(kNumSequences * constraints_.bytes(), kSmallBudget) << "there is something to forget";

  DrawConstraints small(Options(kSmallBudget));
  small.SetVocabulary(MakeBytes());
  std::vector<DrawRow> draws;
  for (uint64_t id = 0; id < kNumSequences; ++id) draws.push_back(row(id));
  for (int round = 0; round < 2; ++round) {
    for (DrawRow& draw : draws) {
      const auto tokens = small.TokensFor(draw);
      ASSERT_TRUE(tokens.ok()) << tokens.status();
      EXPECT_THAT(tokens->allowed, ElementsAre(round == 0 ? 'z' : kEnd));
      EXPECT_LE(small.bytes(), kSmallBudget);
      draw.answer_tokens.push_back('z');
    }
  }
}

TEST_F(DrawConstraintsTest, MakesRoomOfSequencesThatHaveEnded) {
  DrawConstraints small(Options(size_t{8} << 20));
  small.SetVocabulary(MakeBytes());
  for (uint64_t id = 0; id < 20; ++id) {
    DrawRow draw = Row(Choosing({std::string(30'000 + id, 'a')}));
    draw.sequence_id = id;
    small.Prepare(*draw.sampling);
    EXPECT_TRUE(small.TokensFor(draw).ok()) << id;
  }
}

// Masks, automata and states fill it together.
TEST_F(DrawConstraintsTest, KeepsToItsBudgetWhateverComesBack) {
  constexpr size_t kSmallBudget = size_t{8} << 20;
  constexpr size_t kNumLetters = 4000;
  DrawConstraints small(Options(kSmallBudget));
  small.SetVocabulary(MakeBytes());
  const auto row = [](uint64_t id) {
    std::string text = std::to_string(100 + id);
    for (size_t i = 0; i < kNumLetters; ++i) text += static_cast<char>('a' + (i + id) % 25);
    DrawRow draw = Row(Choosing({text + "z"}), std::vector<uint32_t>(text.begin(), text.end()));
    draw.sequence_id = id;
    return draw;
  };
  std::vector<DrawRow> draws;
  for (uint64_t id = 0; id < 2; ++id) {
    DrawRow draw = row(id);
    const std::vector<uint32_t> answer = std::exchange(draw.answer_tokens, {});
    for (const uint32_t letter : answer) {
      ASSERT_TRUE(small.TokensFor(draw).ok());
      draw.answer_tokens.push_back(letter);
    }
    draws.push_back(std::move(draw));
  }
  ASSERT_GT(small.bytes(), kSmallBudget / 2) << "masks fill their half";
  absl::Status status;
  while (status.ok() && draws.size() < 60) {
    draws.push_back(row(draws.size()));
    status = small.TokensFor(draws.back()).status();
    EXPECT_LE(small.bytes(), kSmallBudget);
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_GT(draws.size(), 20u);
}

// It is compiled aside, before any draw has looked who is still there.
TEST_F(DrawConstraintsTest, ASequenceThatHasEndedTakesNoRoomFromTheNext) {
  std::atomic<int> num_compiles = 0;
  absl::Notification last;
  ConstraintOptions options = Options(size_t{8} << 20);
  options.compile = [&](const structured::Constraint& constraint) {
    ++num_compiles;
    if (constraint.choices[0] == "last") last.Notify();
    return structured::CompileConstraint(constraint);
  };
  DrawConstraints small(options);
  small.SetVocabulary(MakeBytes());
  EXPECT_TRUE(small.TokensFor(Row(Choosing({std::string(40'000, 'a')}))).ok());
  DrawRow next = Row(Choosing({std::string(40'001, 'a')}));
  next.sequence_id = 6;
  const DrawRow behind = Row(Choosing({"last"}));
  small.Prepare(*next.sampling);
  small.Prepare(*behind.sampling);
  ASSERT_TRUE(last.WaitForNotificationWithTimeout(absl::Seconds(60)));
  EXPECT_TRUE(small.TokensFor(next).ok());
  EXPECT_EQ(num_compiles, 3) << "once each";
}

// The room is looked for where the answer begins, too, not only where the reasoning does.
TEST_F(DrawConstraintsTest, MakesRoomOfSequencesThatEndedDuringTheReasoning) {
  DrawConstraints small(Options(size_t{8} << 20));
  small.SetVocabulary(MakeBytes());
  const auto row = [](uint64_t id) { return Reasoning(id, std::string(30'000 + id, 'a')); };
  std::vector<DrawRow> ended;
  for (uint64_t id = 0; id < 20; ++id) {
    ended.push_back(row(id));
    ended.back().answer_tokens = {kThink};
    if (!small.TokensFor(ended.back()).ok()) break;
  }
  ASSERT_LT(ended.size(), 20u) << "they fill the room";
  DrawRow draw = row(100);
  draw.answer_tokens = {'q'};
  ASSERT_TRUE(small.TokensFor(draw).ok());
  ended.clear();
  draw.answer_tokens = {'q', kThink};
  const auto tokens = small.TokensFor(draw);
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_THAT(tokens->allowed, ElementsAre('a'));
}

// What was announced has been compiled by the time that it is drawn for.
TEST_F(DrawConstraintsTest, SaysAtTheBeginOfTheReasoningThatAConstraintCannotBeHad) {
  DrawConstraints small(Options(size_t{8} << 20));
  small.SetVocabulary(MakeBytes());
  const auto announce = [&small](const DrawRow& draw) {
    small.Prepare(*draw.sampling);
    DrawRow answer = draw;  // waits for it, as another sequence
    answer.sequence_id += 100;
    answer.answer_tokens = {kThink};
    return small.TokensFor(answer).status();
  };
  auto first = std::make_unique<DrawRow>(Reasoning(0, std::string(40'000, 'a')));
  ASSERT_TRUE(announce(*first).ok());
  const DrawRow next = Reasoning(1, std::string(40'001, 'a'));
  ASSERT_EQ(announce(next).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(small.TokensFor(next).status().code(), absl::StatusCode::kResourceExhausted);
  const DrawRow large = Reasoning(2, std::string(80'000, 'a'));
  ASSERT_EQ(announce(large).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(small.TokensFor(large).status().code(), absl::StatusCode::kInvalidArgument);
  // One that was preempted meanwhile may have room again when it needs it.
  DrawRow back = next;
  back.sequence_id = 3;
  back.answer_tokens = {'q'};
  EXPECT_TRUE(small.TokensFor(back).ok());
  first.reset();
  EXPECT_TRUE(small.TokensFor(next).ok());
}

// Others took the room of a sequence that was preempted: there is some beside.
TEST_F(DrawConstraintsTest, ASequenceThatComesBackHasMoreRoom) {
  DrawConstraints small(Options(size_t{8} << 20));
  small.SetVocabulary(MakeBytes());
  const auto row = [](uint64_t id, std::vector<uint32_t> answer) {
    DrawRow draw = Row(Choosing({std::string(30'000 + id, 'a')}), std::move(answer));
    draw.sequence_id = id;
    return draw;
  };
  std::vector<DrawRow> others;
  absl::Status status;
  while (status.ok() && others.size() < 20) {
    others.push_back(row(others.size(), {}));
    status = small.TokensFor(others.back()).status();
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  const DrawRow preempted = row(100, {'a', 'a'});
  const auto tokens = small.TokensFor(preempted);
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_THAT(tokens->allowed, ElementsAre('a'));
}

// Of its answer, not of its reasoning.
TEST_F(DrawConstraintsTest, ASequenceThatComesBackHasMoreRoomAside) {
  std::atomic<int> num_compiles = 0;
  absl::Notification last;
  ConstraintOptions options = Options(size_t{8} << 20);
  options.compile = [&](const structured::Constraint& constraint) {
    ++num_compiles;
    if (constraint.choices[0] == "last") last.Notify();
    return structured::CompileConstraint(constraint);
  };
  DrawConstraints small(options);
  small.SetVocabulary(MakeBytes());
  std::vector<DrawRow> in_use = {Row(Choosing({std::string(30'000, 'a')})),
                                 Row(Choosing({std::string(30'003, 'a')}))};
  in_use[1].sequence_id = 8;
  for (const DrawRow& draw : in_use) ASSERT_TRUE(small.TokensFor(draw).ok());
  DrawRow reasons = Reasoning(6, std::string(30'001, 'a'));
  reasons.answer_tokens = {'q', kThink};
  DrawRow answers = Reasoning(7, std::string(30'002, 'a'));
  answers.answer_tokens = {'q', kThink, 'a'};
  small.Prepare(*reasons.sampling, reasons.answer_tokens);
  small.Prepare(*answers.sampling, answers.answer_tokens);
  const DrawRow behind = Row(Choosing({"last"}));
  small.Prepare(*behind.sampling);
  ASSERT_TRUE(last.WaitForNotificationWithTimeout(absl::Seconds(60)));
  ASSERT_EQ(num_compiles, 5);
  EXPECT_EQ(small.TokensFor(reasons).status().code(), absl::StatusCode::kResourceExhausted);
  const auto tokens = small.TokensFor(answers);
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_THAT(tokens->allowed, ElementsAre('a'));
  EXPECT_EQ(num_compiles, 5) << "once each";
}

TEST_F(DrawConstraintsTest, BeginsBehindTheReasoning) {
  SamplingSettings settings = Choosing({"ab"});
  auto structured = std::make_shared<StructuredSettings>(*settings.structured);
  structured->begin_after_token_id = kThink;
  settings.structured = structured;
  DrawRow draw = Row(settings);
  // Anything but the end.
  EXPECT_THAT(constraints_.TokensFor(draw)->masked, ElementsAre(kEnd));
  draw.answer_tokens = {'q', 300};
  EXPECT_THAT(constraints_.TokensFor(draw)->masked, ElementsAre(kEnd));
  draw.answer_tokens.push_back(kThink);
  EXPECT_THAT(AllowedAt(draw), ElementsAre('a'));
  draw.answer_tokens.push_back('a');
  EXPECT_THAT(AllowedAt(draw), ElementsAre('b'));
}

TEST_F(DrawConstraintsTest, ManyTokensAreListedByWhatIsNotAllowed) {
  SamplingSettings settings = Choosing({"x"});
  auto structured = std::make_shared<StructuredSettings>(*settings.structured);
  structured->constraint = {.kind = structured::ConstraintKind::kRegex, .text = "[^b]*"};
  settings.structured = structured;
  const auto tokens = constraints_.TokensFor(Row(settings));
  EXPECT_TRUE(tokens->allowed.empty());
  EXPECT_THAT(tokens->masked, testing::Contains('b'));
  EXPECT_THAT(tokens->masked, testing::Contains(kThink));
  EXPECT_THAT(tokens->masked, testing::Not(testing::Contains('a')));
  EXPECT_THAT(tokens->masked, testing::Not(testing::Contains(kEnd)));
}

// Few and many of either kind. The end is never allowed: the reasoning goes on.
TEST_F(DrawConstraintsTest, ListsExactlyWhatIsLeft) {
  SamplingSettings settings = Choosing({"x"});
  auto structured = std::make_shared<StructuredSettings>(*settings.structured);
  structured->begin_after_token_id = kThink;
  settings.structured = structured;
  const auto all = [](uint32_t token) { return true; };
  const auto most = [](uint32_t token) { return token % 3 != 0; };
  const auto some = [](uint32_t token) { return token % 2 == 0; };
  const auto few = [](uint32_t token) { return token % 64 == 63; };
  for (bool (*const is_allowed)(uint32_t) : {+all, +most, +some, +few}) {
    settings.allowed_token_ids.clear();
    std::vector<uint32_t> allowed;
    std::vector<uint32_t> others;
    for (uint32_t token = 0; token < kVocabSize; ++token) {
      if (is_allowed(token)) settings.allowed_token_ids.push_back(token);
      (is_allowed(token) && token != kEnd ? allowed : others).push_back(token);
    }
    const auto tokens = constraints_.TokensFor(Row(settings));
    ASSERT_TRUE(tokens.ok()) << tokens.status();
    EXPECT_EQ(tokens->allowed, allowed.size() > 2048 ? std::vector<uint32_t>() : allowed);
    EXPECT_EQ(tokens->masked, allowed.size() > 2048 ? others : std::vector<uint32_t>());
  }
}

TEST_F(DrawConstraintsTest, GoesTogetherWithOtherSets) {
  SamplingSettings settings = Choosing({"ab", "ac", "a"});
  settings.allowed_token_ids = {'a', 'c', 'x', kEnd};
  settings.masked_token_ids = {kEnd};
  DrawRow draw = Row(settings, {'a'});
  EXPECT_THAT(AllowedAt(draw), ElementsAre('c', kEnd));
  draw.masked = true;
  EXPECT_THAT(AllowedAt(draw), ElementsAre('c'));
  draw.answer_tokens = {'a', 'c'};  // nothing but the end is left: it may come
  EXPECT_THAT(AllowedAt(draw), ElementsAre(kEnd));
}

TEST_F(DrawConstraintsTest, BannedTokensGiveWayToTheLastOneLeft) {
  SamplingSettings settings = Choosing({"ab", "ac"});
  settings.banned_sequences = {{'a'}, {'a', 'c'}};
  EXPECT_THAT(AllowedAt(Row(settings)), ElementsAre('a'));
  EXPECT_THAT(AllowedAt(Row(settings, {'a'})), ElementsAre('b'));
}

TEST_F(DrawConstraintsTest, SaysWhyASequenceCannotGoOn) {
  SamplingSettings settings = Choosing({"ab"});
  settings.allowed_token_ids = {'x'};
  const auto expect = [this](const DrawRow& draw, absl::StatusCode code, const char* why) {
    const absl::Status status = constraints_.TokensFor(draw).status();
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(status.message(), HasSubstr(why));
  };
  // Of these the request's caller can do something about.
  expect(Row(settings), absl::StatusCode::kInvalidArgument, "none of allowed_token_ids");
  expect(Row(Choosing({""})), absl::StatusCode::kInvalidArgument, "a choice is empty");
  expect(Row(Choosing({"ab"}), {'x'}), absl::StatusCode::kInternal, "does not keep to it");
  constraints_.SetVocabulary(nullptr);
  expect(Row(Choosing({"ab"})), absl::StatusCode::kFailedPrecondition, "no tokenizer.json");
}

}  // namespace
}  // namespace baton::stage
