#include "services/stage_worker/model/compiled_constraints.h"

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::stage {
namespace {

using ::testing::HasSubstr;

constexpr size_t kCapacity = size_t{8} << 20;
constexpr size_t kLongText = 16'000;
constexpr absl::Duration kLimit = absl::Seconds(60);

std::shared_ptr<const structured::VocabularyTrie> Letters() {
  return std::make_shared<const structured::VocabularyTrie>(std::vector<std::string>{"a", "b"}, 3);
}

std::shared_ptr<const StructuredSettings> Choosing(const std::string& text) {
  auto settings = std::make_shared<StructuredSettings>();
  settings->constraint.kind = structured::ConstraintKind::kChoice;
  settings->constraint.choices = {text};
  settings->end_token_ids = {2};
  return settings;
}

// No two are the same; each takes some hundred KiB.
std::shared_ptr<const StructuredSettings> Long(int index) {
  return Choosing(absl::StrCat(index, std::string(kLongText, 'a')));
}

// Counts what is compiled; "held" waits until it may go on.
class CompiledConstraintsTest : public testing::Test {
 protected:
  CompiledConstraintsTest() : constraints_(Options()) { constraints_.SetVocabulary(Letters()); }
  ~CompiledConstraintsTest() override {
    if (!go_.HasBeenNotified()) go_.Notify();
  }

  ConstraintOptions Options() {
    ConstraintOptions options;
    options.capacity_bytes = kCapacity;
    options.compile = [this](const structured::Constraint& constraint) {
      ++num_compiles_;
      clock_ms_ += compile_ms_;
      if (constraint.choices[0] == "last") last_.Notify();
      for (size_t i = 0; i < mark_settings_.size(); ++i) {
        if (constraint.choices[0] == MarkText(i)) marks_[i].Notify();
      }
      if (constraint.choices[0] == "held") {
        held_.Notify();
        go_.WaitForNotification();
      }
      return structured::CompileConstraint(constraint);
    };
    options.now = [this] {
      if (on_now_) on_now_();
      return std::chrono::steady_clock::time_point(std::chrono::milliseconds(clock_ms_));
    };
    return options;
  }

  static std::string MarkText(size_t index) { return absl::StrCat("mark ", index); }
  // Waits until the own thread is done with all that was announced; compiles one constraint more.
  void AwaitThread(size_t index) {
    mark_settings_[index] = Choosing(MarkText(index));
    constraints_.Prepare(mark_settings_[index]);
    ASSERT_TRUE(marks_[index].WaitForNotificationWithTimeout(kLimit));
  }

  std::atomic<int> num_compiles_ = 0;
  std::atomic<int64_t> compile_ms_ = 0;
  std::atomic<int64_t> clock_ms_ = 0;
  std::function<void()> on_now_;  // Get asks for the time at its begin, and at its end
  absl::Notification held_;
  absl::Notification go_;
  absl::Notification last_;
  std::array<absl::Notification, 3> marks_;
  std::array<std::shared_ptr<const StructuredSettings>, 3> mark_settings_;
  CompiledConstraints constraints_;
};

TEST_F(CompiledConstraintsTest, CompilesAsideAndOnce) {
  const auto settings = Choosing("held");
  constraints_.Prepare(settings);
  constraints_.Prepare(Choosing("held"));
  ASSERT_TRUE(held_.WaitForNotificationWithTimeout(kLimit));
  go_.Notify();
  const auto first = constraints_.Get(settings);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(*constraints_.Get(Choosing("held")), *first);
  EXPECT_EQ(num_compiles_, 1);
}

TEST_F(CompiledConstraintsTest, DoesNotWaitForThoseBeforeIt) {
  const auto held = Choosing("held");
  const auto settings = Choosing("ab");
  constraints_.Prepare(held);
  ASSERT_TRUE(held_.WaitForNotificationWithTimeout(kLimit));
  constraints_.Prepare(settings);
  EXPECT_TRUE(constraints_.Get(settings).ok());
  EXPECT_TRUE(constraints_.Get(Choosing("ba")).ok()) << "that nobody announced";
  EXPECT_EQ(num_compiles_, 3);
}

TEST_F(CompiledConstraintsTest, CountsTheMasksThatAllConstraintsShare) {
  EXPECT_EQ(constraints_.bytes(), Letters()->plain_tokens().bytes());
  EXPECT_GT(constraints_.bytes(), 0u);
  constraints_.SetVocabulary(nullptr);
  EXPECT_EQ(constraints_.bytes(), 0u);
}

TEST_F(CompiledConstraintsTest, QueuesSoManyAndNoMore) {
  std::vector<std::shared_ptr<const StructuredSettings>> settings = {Choosing("held")};
  constraints_.Prepare(settings[0]);
  ASSERT_TRUE(held_.WaitForNotificationWithTimeout(kLimit));
  for (size_t i = 0; i < 2 * CompiledConstraints::kMostQueued; ++i) {
    settings.push_back(Choosing(absl::StrCat("a", i)));
    constraints_.Prepare(settings.back());
  }
  EXPECT_EQ(constraints_.num_kept(), 1 + CompiledConstraints::kMostQueued);
  EXPECT_TRUE(constraints_.Get(settings.back()).ok());
}

// However long their texts are: a quarter of the budget is for all in use.
TEST_F(CompiledConstraintsTest, WhatWaitsTakesLittleOfTheBudget) {
  constexpr size_t kTextBytes = size_t{256} << 10;
  std::vector<std::shared_ptr<const StructuredSettings>> settings = {Choosing("held")};
  constraints_.Prepare(settings[0]);
  ASSERT_TRUE(held_.WaitForNotificationWithTimeout(kLimit));
  for (size_t i = 0; i < CompiledConstraints::kMostQueued; ++i) {
    settings.push_back(Choosing(absl::StrCat(i, std::string(kTextBytes, 'a'))));
    constraints_.Prepare(settings.back());
  }
  ASSERT_EQ(constraints_.num_kept(), 1 + CompiledConstraints::kMostQueued);
  EXPECT_LT(constraints_.bytes(), kCapacity / 4 / 4);
  const auto small = Choosing("ab");
  const auto constraint = constraints_.Get(small);
  EXPECT_TRUE(constraint.ok()) << constraint.status();
}

TEST_F(CompiledConstraintsTest, DoesNotCompileForSequencesThatHaveEnded) {
  const auto held = Choosing("held");
  constraints_.Prepare(held);
  ASSERT_TRUE(held_.WaitForNotificationWithTimeout(kLimit));
  constraints_.Prepare(Choosing("ab"));
  const auto last = Choosing("last");
  constraints_.Prepare(last);
  go_.Notify();
  ASSERT_TRUE(last_.WaitForNotificationWithTimeout(kLimit)) << "the thread is past \"ab\"";
  EXPECT_EQ(num_compiles_, 2);
}

TEST_F(CompiledConstraintsTest, RemembersARefusal) {
  for (int i = 0; i < 2; ++i) {
    const auto refused = constraints_.Get(Choosing(""));
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(refused.status().message(), HasSubstr("a choice is empty"));
  }
  EXPECT_EQ(num_compiles_, 1);
}

TEST_F(CompiledConstraintsTest, DropsWhatNobodyUsesTheLeastRecentlyUsedFirst) {
  size_t sum = 0;
  for (int i = 0; i < 40; ++i) {
    const auto constraint = constraints_.Get(Long(i));
    ASSERT_TRUE(constraint.ok()) << constraint.status();
    sum += (*constraint)->automaton_bytes();
    constraints_.NoteUse(**constraint);
    EXPECT_LE(constraints_.bytes(), kCapacity);
    ASSERT_TRUE(constraints_.Get(Long(0)).ok());  // used all the time
  }
  EXPECT_GT(sum, 2 * kCapacity);
  EXPECT_EQ(num_compiles_, 40);
  EXPECT_TRUE(constraints_.Get(Long(39)).ok());
  EXPECT_EQ(num_compiles_, 40) << "the newest";
  EXPECT_TRUE(constraints_.Get(Long(1)).ok());
  EXPECT_EQ(num_compiles_, 41) << "the oldest";
}

TEST_F(CompiledConstraintsTest, RefusesWhatDoesNotFitBesideThoseInUse) {
  std::vector<std::shared_ptr<const StructuredSettings>> in_use;
  absl::Status status;
  while (in_use.size() < 40) {
    in_use.push_back(Long(static_cast<int>(in_use.size())));
    constraints_.Prepare(in_use.back());
    status = constraints_.Get(in_use.back()).status();
    if (!status.ok()) break;
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(status.message(), HasSubstr("--constraint-memory-bytes; try again later"));
  EXPECT_GE(in_use.size(), 3u);
  EXPECT_LE(constraints_.bytes(), kCapacity);
  const int num_compiles = num_compiles_;
  const auto refused = in_use.back();
  in_use.pop_back();
  EXPECT_FALSE(constraints_.Get(refused).ok());
  EXPECT_EQ(num_compiles_, num_compiles) << "that it does not fit is known";
  for (const auto& settings : in_use) EXPECT_TRUE(constraints_.Get(settings).ok());
  EXPECT_EQ(num_compiles_, num_compiles) << "those in use are all there";
  in_use.clear();
  EXPECT_TRUE(constraints_.Get(refused).ok()) << "there is room now";
}

// Whoever drew with it may hold it for a while longer.
TEST_F(CompiledConstraintsTest, ASequenceThatHasEndedTakesNoRoom) {
  const auto text = [](char first) { return std::string(1, first) + std::string(40'000, 'a'); };
  const auto held = constraints_.Get(Choosing(text('x')));
  ASSERT_TRUE(held.ok()) << held.status();
  const auto next = Choosing(text('y'));
  constraints_.Prepare(next);
  AwaitThread(0);
  const auto constraint = constraints_.Get(next);
  ASSERT_TRUE(constraint.ok()) << constraint.status();
  EXPECT_EQ(num_compiles_, 3) << "once each";
  EXPECT_GE(constraints_.bytes(), (*held)->automaton_bytes() + (*constraint)->automaton_bytes())
      << "what is held is counted";
}

// It cannot be freed: none is in use, and yet there is no room.
TEST_F(CompiledConstraintsTest, SaysThatWhatIsStillHeldTakesTheRoom) {
  std::vector<std::shared_ptr<structured::TokenConstraint>> held;
  absl::Status status;
  while (status.ok() && held.size() < 40) {
    const auto constraint = constraints_.Get(Long(static_cast<int>(held.size())));
    status = constraint.status();
    if (constraint.ok()) held.push_back(*constraint);
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(status.message(), HasSubstr("under way or just ended"));
  EXPECT_THAT(status.message(), HasSubstr("may take 4194304, half of the stage's"));
}

TEST_F(CompiledConstraintsTest, WhatFoundNoRoomIsCompiledAsideOnceThereIsSome) {
  const auto text = [](char first) { return std::string(1, first) + std::string(40'000, 'a'); };
  auto first = Choosing(text('x'));
  ASSERT_TRUE(constraints_.Get(first).ok());
  const auto next = Choosing(text('y'));
  constraints_.Prepare(next);
  AwaitThread(0);
  EXPECT_EQ(constraints_.Get(next).status().code(), absl::StatusCode::kResourceExhausted);
  first.reset();
  constraints_.Prepare(Choosing(text('y')));
  AwaitThread(1);
  EXPECT_EQ(num_compiles_, 5);
  EXPECT_TRUE(constraints_.Get(next).ok());
  EXPECT_EQ(num_compiles_, 5) << "the draw does not compile it";
}

// As the thread that takes in steps does it, while the draws of an earlier one are under way.
TEST_F(CompiledConstraintsTest, WhatIsQueuedAgainBehindADrawsBackIsStillRefusedToIt) {
  const auto text = [](char first) { return std::string(1, first) + std::string(40'000, 'a'); };
  auto first = Choosing(text('x'));
  ASSERT_TRUE(constraints_.Get(first).ok());
  const auto next = Choosing(text('y'));
  ASSERT_EQ(constraints_.Get(next).status().code(), absl::StatusCode::kResourceExhausted);
  const auto held = Choosing("held");
  constraints_.Prepare(held);
  ASSERT_TRUE(held_.WaitForNotificationWithTimeout(kLimit));
  int num_nows = 0;
  on_now_ = [&] {
    if (++num_nows != 2) return;
    first.reset();
    constraints_.Prepare(Choosing(text('y')));
  };
  const auto refused = constraints_.Get(next);
  EXPECT_EQ(num_nows, 2);
  on_now_ = nullptr;
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  const auto constraint = constraints_.Get(next);
  ASSERT_TRUE(constraint.ok()) << constraint.status();
  EXPECT_NE(*constraint, nullptr);
}

TEST_F(CompiledConstraintsTest, WhatWaitedForRoomThatAnotherTookIsNotCompiled) {
  const auto text = [](char first) { return std::string(1, first) + std::string(40'000, 'a'); };
  auto first = Choosing(text('x'));
  ASSERT_TRUE(constraints_.Get(first).ok());
  const std::vector<std::shared_ptr<const StructuredSettings>> next = {
      Choosing(text('y')), Choosing(text('z')), Choosing(text('b'))};
  for (const auto& settings : next) ASSERT_FALSE(constraints_.Get(settings).ok());
  const auto held = Choosing("held");
  constraints_.Prepare(held);
  ASSERT_TRUE(held_.WaitForNotificationWithTimeout(kLimit));
  first.reset();
  for (const auto& settings : next) constraints_.Prepare(settings);
  const int num_compiles = num_compiles_;
  go_.Notify();
  AwaitThread(0);
  EXPECT_EQ(num_compiles_, num_compiles + 2) << "the first of them, and what AwaitThread waits for";
  EXPECT_TRUE(constraints_.Get(next[0]).ok());
  EXPECT_EQ(constraints_.Get(next[1]).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(num_compiles_, num_compiles + 2);
}

TEST_F(CompiledConstraintsTest, WhatHasBeenDrawnWithHasMoreRoom) {
  std::vector<std::shared_ptr<const StructuredSettings>> in_use;
  do {
    ASSERT_LT(in_use.size(), 40u);
    in_use.push_back(Long(static_cast<int>(in_use.size())));
  } while (constraints_.Get(in_use.back()).ok());
  // It comes back, while others have its room. So does one that was compiled aside meanwhile.
  const auto constraint = constraints_.Get(in_use.back(), /*has_drawn=*/true);
  ASSERT_TRUE(constraint.ok()) << constraint.status();
  EXPECT_EQ(*constraints_.Get(in_use.back()), *constraint) << "kept, like any in use";
  in_use.push_back(Long(40));
  EXPECT_TRUE(constraints_.Get(in_use.back(), /*has_drawn=*/true).ok());
  in_use.push_back(Long(41));
  EXPECT_EQ(constraints_.Get(in_use.back()).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(CompiledConstraintsTest, WhatHasBeenDrawnWithHasMoreRoomWhenItIsCompiledAside) {
  const auto text = [](char first) { return std::string(1, first) + std::string(30'000, 'a'); };
  const std::vector<std::shared_ptr<const StructuredSettings>> in_use = {Choosing(text('x')),
                                                                         Choosing(text('z'))};
  for (const auto& settings : in_use) ASSERT_TRUE(constraints_.Get(settings).ok());
  const auto back = Choosing(text('y'));
  constraints_.Prepare(back, /*has_drawn=*/true);
  AwaitThread(0);
  EXPECT_EQ(num_compiles_, 4);
  EXPECT_TRUE(constraints_.Get(back, /*has_drawn=*/true).ok());
  EXPECT_EQ(num_compiles_, 4) << "the draw does not compile it";
}

TEST_F(CompiledConstraintsTest, WhatHasBeenDrawnWithHasHalfAsMuchRoomAgain) {
  std::vector<std::shared_ptr<const StructuredSettings>> in_use;
  absl::Status status;
  while (status.ok() && in_use.size() < 40) {
    in_use.push_back(Long(static_cast<int>(in_use.size())));
    status = constraints_.Get(in_use.back(), /*has_drawn=*/true).status();
    EXPECT_LE(constraints_.bytes(), kCapacity / 2);
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(
      status.message(),
      HasSubstr("may take 3145728, three eighths of the stage's --constraint-memory-bytes"));
  in_use.pop_back();
  EXPECT_TRUE(constraints_.Get(in_use.front()).ok()) << "those in use are all there";
}

TEST_F(CompiledConstraintsTest, TellsWhatIsKnownWithoutWaiting) {
  const auto held = Choosing("held");
  const auto key = CompiledConstraints::KeyOf(*held);
  for (int i = 0; i < 2; ++i) {
    const auto nothing = constraints_.TryGet(key, held);
    ASSERT_TRUE(nothing.ok()) << nothing.status();
    EXPECT_EQ(*nothing, nullptr);
    ASSERT_TRUE(held_.WaitForNotificationWithTimeout(kLimit));
  }
  const auto refused = Choosing("");
  constraints_.Prepare(refused);
  go_.Notify();
  AwaitThread(0);
  const auto known = constraints_.TryGet(key, held);
  ASSERT_TRUE(known.ok()) << known.status();
  EXPECT_NE(*known, nullptr);
  EXPECT_EQ(*constraints_.Get(held), *known);
  EXPECT_EQ(constraints_.TryGet(CompiledConstraints::KeyOf(*refused), refused).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(num_compiles_, 3);
}

TEST_F(CompiledConstraintsTest, AStepWaitsSoLongAndNoLonger) {
  using std::chrono::milliseconds;
  const auto held = Choosing("held");
  const auto queued = Choosing("aaa");
  constraints_.Prepare(held);
  ASSERT_TRUE(held_.WaitForNotificationWithTimeout(kLimit));
  constraints_.Prepare(queued);
  compile_ms_ = milliseconds(CompiledConstraints::kMostStepWait).count() / 2;
  constraints_.BeginStep();
  EXPECT_TRUE(constraints_.Get(Choosing("a")).ok());
  EXPECT_TRUE(constraints_.Get(Choosing("b")).ok());
  const size_t num_kept = constraints_.num_kept();
  for (const auto& settings : {Choosing("ab"), queued, held}) {
    const absl::Status status = constraints_.Get(settings).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_THAT(status.message(), HasSubstr("try again later"));
  }
  EXPECT_EQ(constraints_.num_kept(), num_kept);
  EXPECT_EQ(num_compiles_, 3);
  EXPECT_TRUE(constraints_.Get(Choosing("a")).ok()) << "it is there";
  EXPECT_TRUE(constraints_.Get(Choosing("ba"), /*has_drawn=*/true).ok());
  constraints_.BeginStep();
  EXPECT_TRUE(constraints_.Get(Choosing("ab")).ok());
  EXPECT_TRUE(constraints_.Get(queued).ok());
}

TEST_F(CompiledConstraintsTest, WhatIsTooLargeByItselfIsTheRequestsFault) {
  const auto large = Choosing(std::string(80'000, 'a'));
  for (const bool has_drawn : {false, true}) {
    const absl::Status status = constraints_.Get(large, has_drawn).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(status.message(), HasSubstr("it may take 2097152, a quarter of"));
  }
  EXPECT_EQ(num_compiles_, 1);
}

}  // namespace
}  // namespace baton::stage
