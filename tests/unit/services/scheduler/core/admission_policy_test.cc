#include "services/scheduler/core/admission_policy.h"

#include <deque>
#include <set>

#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/core/sequences.h"

namespace baton::scheduler {
namespace {

class AdmissionPolicy : public testing::Test {
 protected:
  // A decode of 10 sequences takes 10 ms: 1000 tokens a second.
  AdmissionPolicy() {
    for (int i = 0; i < 20; ++i) rate_.AddStep(0, 10, kSecond / 100);
  }

  void Fill(const std::string& key, int count, uint32_t answer_tokens) {
    for (int i = 0; i < count; ++i) {
      SequenceRequest request = MakeRequest(++num_made_, 10);
      request.fairness_key = key;
      queue_.Push(&sequences_.emplace_back(std::move(request), num_made_), answer_tokens);
    }
  }
  SequenceRequest Newcomer(const std::string& key) {
    SequenceRequest request = MakeRequest(++num_made_, 10);
    request.fairness_key = key;
    return request;
  }
  Verdict Judge(const SequenceRequest& request, TimeUs max_wait = 60 * kSecond) {
    return JudgeNewcomer(request, 100, queue_, rate_, max_wait, now_);
  }

  std::deque<Sequence> sequences_;
  RequestQueue queue_{{.max_sequences = 100, .max_tokens = 10'000}};
  ServiceRate rate_;
  TimeUs now_ = 5 * kSecond;
  uint64_t num_made_ = 0;
};

TEST_F(AdmissionPolicy, PredictsTheWaitOfEachKey) {
  Fill("flood", 30, 1000);
  EXPECT_EQ(Judge(Newcomer("flood")).wait, 30 * kSecond);
  EXPECT_EQ(Judge(Newcomer("victim")).wait, 0);
}

TEST_F(AdmissionPolicy, RefusesWhatWouldWaitTooLong) {
  Fill("flood", 61, 1000);
  const Verdict verdict = Judge(Newcomer("flood"));
  ASSERT_TRUE(verdict.refusal.has_value());
  EXPECT_EQ(verdict.refusal->reason, RefusalReason::kQueueWait);
  EXPECT_FALSE(Judge(Newcomer("flood"), 61 * kSecond).refusal.has_value());
  EXPECT_FALSE(Judge(Newcomer("victim")).refusal.has_value());
}

TEST_F(AdmissionPolicy, RefusesWhatWouldWaitPastItsDeadline) {
  Fill("a", 10, 1000);
  SequenceRequest request = Newcomer("a");
  request.deadline = now_ + 10 * kSecond;
  const Verdict verdict = Judge(request);
  ASSERT_TRUE(verdict.refusal.has_value());
  EXPECT_EQ(verdict.refusal->reason, RefusalReason::kDeadline);
  request.deadline = now_ + 11 * kSecond;
  EXPECT_FALSE(Judge(request).refusal.has_value());
}

TEST_F(AdmissionPolicy, RefusesPastTheBounds) {
  Fill("a", 99, 1);
  EXPECT_FALSE(Judge(Newcomer("a")).refusal.has_value());
  SequenceRequest large = MakeRequest(++num_made_, 9011);
  large.fairness_key = "a";
  ASSERT_TRUE(Judge(large).refusal.has_value());
  EXPECT_EQ(Judge(large).refusal->reason, RefusalReason::kQueueTokens);
  Fill("a", 1, 1);
  ASSERT_TRUE(Judge(Newcomer("a")).refusal.has_value());
  EXPECT_EQ(Judge(Newcomer("a")).refusal->reason, RefusalReason::kQueueRequests);
}

TEST_F(AdmissionPolicy, MakesRoomForAKeyOfWhichLessWaits) {
  Fill("flood", 100, 100);
  const Verdict verdict = Judge(Newcomer("victim"));
  EXPECT_FALSE(verdict.refusal.has_value());
  EXPECT_EQ(verdict.leaving, std::vector<Sequence*>{&sequences_.back()});
}

TEST_F(AdmissionPolicy, TakesWhatRanBefore) {
  Fill("a", 100, 1000);
  SequenceRequest resumed = Newcomer("a");
  resumed.resumed = {7};
  EXPECT_FALSE(Judge(resumed).refusal.has_value());
}

TEST_F(AdmissionPolicy, TellsToRetryWhenTheQueueIsDone) {
  Fill("a", 20, 1000);
  std::set<TimeUs> times;
  for (SequenceId id = 1; id <= 100; ++id) {
    const TimeUs time = RetryAfter(queue_, rate_, id);
    EXPECT_EQ(time, RetryAfter(queue_, rate_, id));
    EXPECT_GE(time, 15 * kSecond);
    EXPECT_LE(time, 25 * kSecond);
    times.insert(time);
  }
  EXPECT_GT(times.size(), 80u) << "not all at once";
}

TEST_F(AdmissionPolicy, SaysForHowLongTheQueueStaysFull) {
  Fill("a", 100, 1000);
  const Verdict verdict = Judge(Newcomer("a"), kNever);
  ASSERT_TRUE(verdict.refusal.has_value());
  EXPECT_EQ(verdict.refusal->closed_for, kSecond) << "as long as one of them takes";
}

TEST_F(AdmissionPolicy, SaysForHowLongTheWaitIsTooLong) {
  Fill("a", 70, 1000);
  const Verdict verdict = Judge(Newcomer("a"), 60 * kSecond);
  ASSERT_TRUE(verdict.refusal.has_value());
  EXPECT_EQ(verdict.refusal->closed_for, 10 * kSecond);
}

TEST_F(AdmissionPolicy, DoesNotSayThatSmallerOnesAreRefusedIfTheyAreNot) {
  Fill("a", 1, 1000);
  SequenceRequest large = MakeRequest(99, 9'995);
  large.fairness_key = "a";
  const Verdict verdict = Judge(large);
  ASSERT_TRUE(verdict.refusal.has_value());
  EXPECT_EQ(verdict.refusal->reason, RefusalReason::kQueueTokens);
  EXPECT_EQ(verdict.refusal->closed_for, 0);
  SequenceRequest hasty = Newcomer("a");
  hasty.deadline = now_ + kSecond / 2;
  EXPECT_EQ(Judge(hasty).refusal->reason, RefusalReason::kDeadline);
  EXPECT_EQ(Judge(hasty).refusal->closed_for, 0);
}

TEST_F(AdmissionPolicy, TellsToRetryWithinAMinute) {
  EXPECT_GE(RetryAfter(queue_, rate_, 1), kSecond);
  Fill("a", 90, 100'000);
  EXPECT_EQ(RetryAfter(queue_, rate_, 1), 60 * kSecond);
}

}  // namespace
}  // namespace baton::scheduler
