// Who gets room for a constraint among those who draw, and when it is said that there is none.
#include <atomic>
#include <string>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/unit/services/stage_worker/model/draw_constraints_fixture.h"

namespace baton::stage {
namespace {

using ::testing::ElementsAre;

class DrawConstraintsRoomTest : public DrawConstraintsTest {
 protected:
  // Of a small budget; counts what is compiled, and notes when that is "last".
  ConstraintOptions CountingOptions() {
    ConstraintOptions options = Options(size_t{8} << 20);
    options.compile = [this](const structured::Constraint& constraint) {
      ++num_compiles_;
      if (constraint.choices[0] == "last") last_.Notify();
      return structured::CompileConstraint(constraint);
    };
    return options;
  }

  std::atomic<int> num_compiles_ = 0;
  absl::Notification last_;
};

TEST_F(DrawConstraintsRoomTest, KeepsToItsBudgetAndGoesOn) {
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

TEST_F(DrawConstraintsRoomTest, MakesRoomOfSequencesThatHaveEnded) {
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
TEST_F(DrawConstraintsRoomTest, KeepsToItsBudgetWhateverComesBack) {
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
TEST_F(DrawConstraintsRoomTest, ASequenceThatHasEndedTakesNoRoomFromTheNext) {
  DrawConstraints small(CountingOptions());
  small.SetVocabulary(MakeBytes());
  EXPECT_TRUE(small.TokensFor(Row(Choosing({std::string(40'000, 'a')}))).ok());
  DrawRow next = Row(Choosing({std::string(40'001, 'a')}));
  next.sequence_id = 6;
  const DrawRow behind = Row(Choosing({"last"}));
  small.Prepare(*next.sampling);
  small.Prepare(*behind.sampling);
  ASSERT_TRUE(last_.WaitForNotificationWithTimeout(absl::Seconds(60)));
  EXPECT_TRUE(small.TokensFor(next).ok());
  EXPECT_EQ(num_compiles_, 3) << "once each";
}

// The room is looked for where the answer begins, too, not only where the reasoning does.
TEST_F(DrawConstraintsRoomTest, MakesRoomOfSequencesThatEndedDuringTheReasoning) {
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
TEST_F(DrawConstraintsRoomTest, SaysAtTheBeginOfTheReasoningThatAConstraintCannotBeHad) {
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
TEST_F(DrawConstraintsRoomTest, ASequenceThatComesBackHasMoreRoom) {
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
TEST_F(DrawConstraintsRoomTest, ASequenceThatComesBackHasMoreRoomAside) {
  DrawConstraints small(CountingOptions());
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
  ASSERT_TRUE(last_.WaitForNotificationWithTimeout(absl::Seconds(60)));
  ASSERT_EQ(num_compiles_, 5);
  EXPECT_EQ(small.TokensFor(reasons).status().code(), absl::StatusCode::kResourceExhausted);
  const auto tokens = small.TokensFor(answers);
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_THAT(tokens->allowed, ElementsAre('a'));
  EXPECT_EQ(num_compiles_, 5) << "once each";
}

}  // namespace
}  // namespace baton::stage
