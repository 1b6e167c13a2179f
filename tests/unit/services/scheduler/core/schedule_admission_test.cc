// What Schedule does about time, bounds and keys.
#include <map>
#include <optional>
#include <random>

#include "gtest/gtest.h"

#include "services/scheduler/core/schedule.h"
#include "tests/unit/services/scheduler/core/sequences.h"

namespace baton::scheduler {
namespace {

ScheduleOptions AdmissionOptions() {
  ScheduleOptions options;
  options.max_model_len = 4096;
  options.vocab_size = 1024;
  options.max_running = 4;
  return options;
}

StepResult AnswerAll(const Batch& batch) {
  StepResult result{.step_id = batch.step_id};
  for (const BatchRow& row : batch.rows) {
    if (row.sample) result.tokens.push_back({row.id, row.begin + row.num_tokens, 7});
  }
  return result;
}

// A step that takes `time`.
std::optional<Batch> TimedStep(Schedule* schedule, TimeUs* now, TimeUs time) {
  std::optional<Batch> batch = schedule->NextBatch(*now);
  if (!batch.has_value()) return batch;
  *now += time;
  EXPECT_TRUE(schedule->Complete(AnswerAll(*batch), *now).ok());
  return batch;
}

SequenceRequest MakeKeyed(SequenceId id, const char* key, uint32_t max_tokens = 16) {
  SequenceRequest request = MakeRequest(id, 4, max_tokens);
  request.fairness_key = key;
  return request;
}

TEST(ScheduleAdmission, DropsExpiredWorkBeforeItCostsAStep) {
  Schedule schedule(AdmissionOptions());
  schedule.OpenEpoch(100);
  SequenceRequest request = MakeRequest(1, 4);
  request.deadline = 10;
  ASSERT_TRUE(schedule.Add(request, 0).ok());
  EXPECT_EQ(schedule.next_deadline(), 10);
  EXPECT_TRUE(schedule.Expire(9).empty());
  const std::vector<SequenceNews> news = schedule.Expire(10);
  ASSERT_EQ(news.size(), 1u);
  EXPECT_EQ(news[0].id, 1u);
  EXPECT_EQ(news[0].ending->cause, FinishCause::kExpired);
  EXPECT_FALSE(schedule.NextBatch(10).has_value());
  EXPECT_EQ(schedule.next_deadline(), kNever);
  EXPECT_TRUE(schedule.idle());
}

TEST(ScheduleAdmission, RefusesADeadlineThatHasPassed) {
  Schedule schedule(AdmissionOptions());
  SequenceRequest request = MakeRequest(1, 4);
  request.deadline = 10;
  EXPECT_TRUE(absl::IsDeadlineExceeded(schedule.Add(request, 10).status()));
}

TEST(ScheduleAdmission, EndsRunningWorkAtItsDeadline) {
  Schedule schedule(AdmissionOptions());
  schedule.OpenEpoch(100);
  SequenceRequest request = MakeRequest(1, 4, 100);
  request.deadline = 10;
  ASSERT_TRUE(schedule.Add(request, 0).ok());
  const Batch batch = *schedule.NextBatch(0);
  ASSERT_EQ(schedule.Expire(10).size(), 1u);
  EXPECT_TRUE(schedule.Complete(AnswerAll(batch), 11)->empty());
  const Batch release = *schedule.NextBatch(11);
  EXPECT_TRUE(release.rows.empty());
  EXPECT_EQ(release.finished, std::vector<SequenceId>{1});
}

// Whatever the arrivals, no row ever belongs to a sequence whose deadline has passed.
TEST(ScheduleAdmission, ExpiredSequencesNeverRun) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    std::mt19937 random(seed);
    Schedule schedule(AdmissionOptions());
    schedule.OpenEpoch(12);
    std::map<SequenceId, TimeUs> deadlines;
    TimeUs now = 0;
    int num_rows = 0;
    for (SequenceId id = 1; id <= 300; ++id) {
      SequenceRequest request = MakeRequest(id, 1 + random() % 200, 1 + random() % 60);
      request.deadline = now + 1 + random() % 100;
      deadlines[id] = request.deadline;
      ASSERT_TRUE(schedule.Add(std::move(request), now).ok());
      now += random() % 5;
      for (const SequenceNews& news : schedule.Expire(now)) {
        ASSERT_LE(deadlines.at(news.id), now);
        ASSERT_EQ(schedule.Find(news.id), nullptr);
      }
      const std::optional<Batch> batch = schedule.NextBatch(now);
      if (!batch.has_value()) continue;
      for (const BatchRow& row : batch->rows) {
        ASSERT_GT(deadlines.at(row.id), now);
        ++num_rows;
      }
      ASSERT_TRUE(schedule.Complete(AnswerAll(*batch), now).ok());
    }
    EXPECT_GT(num_rows, 100);
    schedule.Expire(now + 1000);
    while (TimedStep(&schedule, &now, 0)) {
    }
    EXPECT_TRUE(schedule.idle());
    EXPECT_EQ(schedule.ledger()->num_used(), 0u);
  }
}

TEST(ScheduleAdmission, RefusesByPredictedWaitAndSaysWhenToRetry) {
  ScheduleOptions options = AdmissionOptions();
  options.max_wait = 2 * kSecond;
  Schedule schedule(options);
  schedule.OpenEpoch(100);
  TimeUs now = 0;
  SequenceId id = 0;
  // Four at a time, a token each in 100 ms: 40 tokens a second.
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(schedule.Add(MakeKeyed(++id, "a", 1000), now).ok());
  for (int i = 0; i < 20; ++i) TimedStep(&schedule, &now, kSecond / 10);
  int num_accepted = 0;
  Admission admission;
  while (num_accepted < 100 && schedule.Add(MakeKeyed(++id, "a", 16), now, &admission).ok()) {
    ++num_accepted;
  }
  ASSERT_TRUE(admission.refusal.has_value());
  EXPECT_EQ(admission.refusal->reason, RefusalReason::kQueueWait);
  EXPECT_GE(num_accepted, 3) << "16 tokens each: 0.4 s";
  EXPECT_LE(num_accepted, 6);
  EXPECT_GE(admission.refusal->retry_after, kSecond);
  EXPECT_LE(admission.refusal->retry_after, 4 * kSecond);
  EXPECT_TRUE(schedule.Add(MakeKeyed(++id, "b", 16), now).ok()) << "nothing of its key waits";
  EXPECT_GT(schedule.counts().num_waiting_tokens, 0u);
}

TEST(ScheduleAdmission, AFullQueueMakesRoomForAnotherKey) {
  ScheduleOptions options = AdmissionOptions();
  options.max_waiting = 3;
  Schedule schedule(options);
  for (SequenceId id = 1; id <= 3; ++id) ASSERT_TRUE(schedule.Add(MakeKeyed(id, "flood")).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(schedule.Add(MakeKeyed(4, "flood")).status()));
  Admission admission;
  ASSERT_TRUE(schedule.Add(MakeKeyed(5, "victim"), 0, &admission).ok());
  ASSERT_EQ(admission.displaced.size(), 1u);
  EXPECT_EQ(admission.displaced[0].id, 3u);
  EXPECT_EQ(admission.displaced[0].ending->cause, FinishCause::kRefused);
  EXPECT_EQ(schedule.Find(3), nullptr);
  EXPECT_EQ(schedule.counts().num_waiting, 3u);
}

TEST(ScheduleAdmission, AKeyThatSendsTenTimesAsMuchGetsNoMoreThanItsShare) {
  ScheduleOptions options = AdmissionOptions();
  options.max_waiting = 200;
  Schedule schedule(options);
  schedule.OpenEpoch(100);
  TimeUs now = 0;
  SequenceId id = 0;
  std::map<SequenceId, bool> is_victim;
  uint64_t tokens[2] = {0, 0};
  for (int step = 0; step < 2000; ++step) {
    for (int i = 0; i < 11; ++i) {
      const bool victim = i == 0;
      is_victim[++id] = victim;
      schedule.Add(MakeKeyed(id, victim ? "victim" : "flood", 8), now).status().IgnoreError();
    }
    const std::optional<Batch> batch = TimedStep(&schedule, &now, 1000);
    for (const BatchRow& row : batch->rows) tokens[is_victim.at(row.id) ? 1 : 0] += row.num_tokens;
  }
  EXPECT_NEAR(static_cast<double>(tokens[1]) / static_cast<double>(tokens[0]), 1.0, 0.02);
}

}  // namespace
}  // namespace baton::scheduler
