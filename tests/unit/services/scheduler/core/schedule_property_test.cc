// The whole core under random loads on a virtual clock: arrivals, refusals, deadlines,
// cancellations, callers that do not read, losses of stages, preemptions, cached prefixes, drafts,
// steps of modelled lengths, stages that expand prompts, all by a seed. Whatever happens, every
// sequence ends once with the tokens that the reference gives it, nobody starves, and nothing is
// left behind. In a third of the stories somebody refills one key, or a better class, until all
// others are done.
//
// A failure prints its seed; `schedule_property_test --seed=N` plays it alone, and with
// `--num-seeds=M` as many from there on.
#include <algorithm>
#include <array>
#include <cmath>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "services/scheduler/core/schedule.h"
#include "tests/unit/services/scheduler/core/stage_memory.h"
#include "tests/unit/services/scheduler/core/story_caller.h"
#include "tests/unit/services/scheduler/core/story_draws.h"
#include "tests/unit/services/scheduler/core/story_patience.h"
#include "tests/unit/services/scheduler/core/story_seeds.h"
#include "tools/simulate/pipeline_clock.h"

namespace baton::scheduler {
namespace {

// Set once by main.
StorySeeds g_seeds;

class Story final {
 public:
  explicit Story(uint64_t seed)
      : draws_(seed),
        num_stages_(1 + Below(3)),
        num_blocks_(8 + Below(40)),
        loses_stages_(Below(2) == 0),
        num_drafts_(seed % 3 == 0 ? 1 + seed / 3 % 4 : 0),
        expands_prompts_(seed / 12 % 2 == 0),
        refill_(static_cast<Refill>(Below(6))),
        options_(draws_.Options(num_stages_, num_drafts_)),
        schedule_(options_),
        clock_(draws_.Stages(num_stages_), {}) {
    num_requests_ = 20 + Below(40);
    mean_gap_ = std::pow(10.0, -3.5 + 0.01 * Below(250));
    for (uint32_t& weight : weights_) weight = Below(2) == 0 ? 1 : 1 + Below(5);
    OpenEpoch();
  }

  void Play() {
    double next_arrival = 0;
    double next_mishap = 0;
    while (!testing::Test::HasFailure()) {
      const double report = steps_.empty() ? HUGE_VAL : steps_.front().reported;
      const double reach =
          num_reached_ < steps_.size() ? steps_[num_reached_].reached_last : HUGE_VAL;
      const double arrival = num_others_ < num_requests_ ? next_arrival : HUGE_VAL;
      if (report == HUGE_VAL && arrival == HUGE_VAL) {
        if (suspended_.empty()) break;
        ContinueOne();  // nothing else is left to do
        SendSteps();
        continue;
      }
      if (std::min({report, reach, arrival}) > next_mishap) {
        now_ = next_mishap;
        next_mishap += mean_gap_ * (1 + Below(8));
        DoMishap();
      } else if (reach <= std::min(report, arrival)) {
        now_ = reach;
        schedule_.ReachLastStage(steps_[num_reached_++].result.step_id);
      } else if (report <= arrival) {
        now_ = report;
        TakeReport();
      } else {
        now_ = arrival;
        SubmitOther();
        next_arrival += mean_gap_ * 0.02 * Below(100);
      }
      SendSteps();
    }
    if (!testing::Test::HasFailure()) CheckEnd();
  }

 private:
  enum class Refill { kKey, kClass };  // anything else: none
  struct Sent {
    double reached_last;
    double reported;
    StepResult result;
    std::vector<SequenceId> ids;  // of its rows
  };

  bool refills() const { return refill_ == Refill::kKey || refill_ == Refill::kClass; }
  uint32_t Below(uint32_t bound) { return draws_.Below(bound); }

  uint32_t MaxLen() const {
    return std::min(options_.max_model_len, num_blocks_ * StoryDraws::kBlockTokens);
  }

  // One of those that come to an end.
  void SubmitOther() {
    SequenceRequest request = draws_.Request(++num_submitted_, MaxLen() - 1);
    request.fairness_key = std::string(1, static_cast<char>('a' + Below(3)));
    request.priority = Below(10) == 0 ? -1 : 0;
    if (Below(10) == 0) request.deadline = Micros() + 1 + Below(1000000);
    request.fairness_weight = weights_[request.fairness_key[0] - 'a'];
    ++num_others_;
    if (Submit(std::move(request))) others_.insert(num_submitted_);
  }

  // As long as others run or wait, there is more of the key or the class than can run.
  void RefillUp() {
    if (!refills()) return;
    std::erase_if(refilled_, [this](SequenceId id) { return callers_.at(id).ended; });
    const bool is_wanted = num_others_ < num_requests_ ||
                           std::any_of(others_.begin(), others_.end(),
                                       [this](SequenceId id) { return !suspended_.contains(id); });
    while (is_wanted && refilled_.size() < options_.max_running + 2) {
      SequenceRequest request =
          draws_.FloodRequest(++num_submitted_, MaxLen() - 1, refill_ == Refill::kClass);
      request.fairness_weight = weights_.back();
      if (!Submit(std::move(request))) return;
      refilled_.insert(num_submitted_);
    }
  }

  // Whether it was taken.
  bool Submit(SequenceRequest request) {
    const SequenceId id = request.id;
    StoryCaller caller{.tokens = request.prompt,
                       .num_prompt = static_cast<uint32_t>(request.prompt.size()),
                       .max_tokens = request.stop.max_tokens,
                       .key = request.fairness_key,
                       .priority = request.priority,
                       .deadline = request.deadline,
                       .last_step = num_steps_,
                       .last_time = Micros()};
    const ScheduleCounts before = schedule_.counts();
    const bool has_room =
        before.num_waiting == 0 ||
        (before.num_waiting < options_.max_waiting &&
         before.num_waiting_tokens + caller.num_prompt <= options_.max_waiting_tokens);
    Admission admission;
    const auto added = schedule_.Add(std::move(request), Micros(), &admission);
    Take(admission.displaced);
    EXPECT_LE(NumNewcomers(), options_.max_waiting);
    if (added.ok()) {
      EXPECT_TRUE(has_room || !admission.displaced.empty()) << "sequence " << id;
      callers_[id] = std::move(caller);
    } else {
      EXPECT_TRUE(absl::IsResourceExhausted(added.status())) << added.status();
      // One that would wait too long, or past its deadline, is refused though there is room.
      const bool may_be_late = caller.deadline != kNever || options_.max_wait != kNever;
      EXPECT_TRUE(!has_room || may_be_late) << added.status();
    }
    return added.ok();
  }

  TimeUs Micros() const { return static_cast<TimeUs>(now_ * 1e6); }

  // Those that wait and never ran: what ran before always finds room in the queue.
  int64_t NumNewcomers() const {
    const std::vector<SequenceId> ids = schedule_.LiveIds();
    return std::count_if(ids.begin(), ids.end(), [this](SequenceId id) {
      const Sequence& sequence = *schedule_.Find(id);
      return sequence.state() == Sequence::State::kWaiting && !sequence.has_begun();
    });
  }

  void DoMishap() {
    const uint32_t dice = Below(100);
    if (dice < 20 && !callers_.empty()) {
      const SequenceId id = 1 + Below(static_cast<uint32_t>(num_submitted_));
      const auto found = callers_.find(id);
      const bool live = found != callers_.end() && !found->second.ended;
      ASSERT_EQ(schedule_.Cancel(id), live) << "sequence " << id;
      if (live) found->second.ended = found->second.cancelled = true;
    } else if (dice >= 50 && dice < 60 && suspended_.size() < StoryDraws::kMostSuspended) {
      SuspendOne();
    } else if (dice >= 60 && dice < 70 && !suspended_.empty()) {
      ContinueOne();
    } else if (dice < 24 && loses_stages_) {
      LoseStage();
      steps_.clear();
      num_reached_ = 0;
      clock_.Reset(now_);
      ASSERT_EQ(schedule_.ledger(), nullptr);
      // Whoever takes the stage's place may have another form of attention.
      if (num_stages_ == 1) expands_prompts_ = !expands_prompts_;
      OpenEpoch();
    }
  }

  void OpenEpoch() {
    memory_.emplace(num_blocks_, StoryDraws::kBlockTokens, options_.num_speculative_tokens,
                    expands_prompts_);
    Take(schedule_.OpenEpoch(num_blocks_, expands_prompts_));
  }

  // A caller that has tokens takes no more of them.
  void SuspendOne() {
    const auto from = callers_.lower_bound(1 + Below(static_cast<uint32_t>(num_submitted_)));
    const auto found = std::find_if(from, callers_.end(), [this](const auto& entry) {
      const StoryCaller& caller = entry.second;
      return !caller.ended && caller.tokens.size() > caller.num_prompt &&
             !suspended_.contains(entry.first);
    });
    if (found == callers_.end()) return;
    schedule_.Suspend(found->first);
    suspended_.insert(found->first);
  }

  void ContinueOne() {
    const SequenceId id = *suspended_.begin();
    suspended_.erase(id);
    schedule_.Continue(id);
    callers_.at(id).last_step = num_steps_;
    callers_.at(id).last_time = Micros();
  }

  // What fails is what was in flight at two losses in a row, alone at the last one; all of it. So
  // does what was at six cut links.
  void LoseStage() {
    const EpochEnd why = Below(3) == 0 ? EpochEnd::kStageLost : EpochEnd::kLinkCut;
    std::set<SequenceId> in_flight;
    for (const Sent& step : steps_) in_flight.insert(step.ids.begin(), step.ids.end());
    std::set<SequenceId> due;
    for (const SequenceId id : in_flight) {
      StoryCaller& caller = callers_.at(id);
      if (caller.ended) continue;
      const bool fails =
          why == EpochEnd::kStageLost ? ++caller.num_losses >= 2 : ++caller.num_cut_links >= 6;
      if (fails && in_flight.size() == 1) due.insert(id);
    }
    due_to_fail_ = due;
    Take(schedule_.CloseEpoch(why));
    ASSERT_TRUE(due_to_fail_.empty()) << "sequence " << *due_to_fail_.begin() << " is tried again";
  }

  void SendSteps() {
    Take(schedule_.Expire(Micros()));
    RefillUp();
    while (std::optional<Batch> batch = schedule_.NextBatch(Micros())) {
      ASSERT_LE(++num_steps_, kMostSteps);
      ASSERT_LE(batch->num_tokens(), options_.max_step_tokens);
      ASSERT_LE(batch->rows.size(), options_.max_running);
      ASSERT_LE(schedule_.counts().num_running, options_.max_running);
      StepWork work;
      std::vector<SequenceId> ids;
      for (const BatchRow& row : batch->rows) {
        CheckOrder(row);
        ASSERT_FALSE(suspended_.contains(row.id)) << "sequence " << row.id;
        ids.push_back(row.id);
        AddWork(row, &work);
      }
      StepResult result = memory_->Run(*batch, schedule_);
      ASSERT_EQ(memory_->violation(), "");
      const simulate::StepTimes times =
          clock_.Send(now_, batch->step_id, work, batch->feedback_step(), false);
      // A wild measurement now and then.
      for (const double seconds : times.compute) {
        result.stage_seconds.push_back(seconds * (Below(50) == 0 ? 100 : 0.9 + 0.002 * Below(100)));
      }
      steps_.push_back({times.reached_last, times.reported, std::move(result), std::move(ids)});
    }
    ASSERT_LE(schedule_.num_steps_in_flight(),
              options_.max_steps_in_flight + options_.lookahead_steps);
    CheckPatience();
  }

  // Within a key, and a priority, sequences begin in the order in which they came.
  void CheckOrder(const BatchRow& row) {
    StoryCaller& caller = callers_.at(row.id);
    // What is computed anew is no progress.
    const uint32_t end = row.begin + row.num_tokens - static_cast<uint32_t>(row.drafts.size());
    if (end > caller.num_computed) caller.Progress(end, num_steps_, Micros());
    // Behind the last token that it may have, nothing is computed.
    ASSERT_LT(row.begin + row.num_tokens, std::min(MaxLen(), caller.num_prompt + caller.max_tokens))
        << "sequence " << row.id;
    if (caller.began) return;
    caller.began = true;
    for (const auto& [id, other] : callers_) {
      if (id >= row.id) return;
      ASSERT_FALSE(!other.began && !other.ended && other.key == caller.key &&
                   other.priority == caller.priority)
          << "sequence " << row.id << " begins before " << id;
    }
  }

  void CheckPatience() {
    std::erase_if(others_, [this](SequenceId id) { return callers_.at(id).ended; });
    for (const SequenceId id : others_) {
      if (suspended_.contains(id)) continue;
      const StoryCaller& caller = callers_.at(id);
      const uint64_t num_steps = num_steps_ - caller.last_step;
      const TimeUs time = Micros() - caller.last_time;
      ASSERT_TRUE(IsBearable(refills(), options_.priority_aging, num_steps, time))
          << "sequence " << id << " of key " << caller.key << " and class " << caller.priority
          << " starves for " << num_steps << " steps, " << time << " us";
      return;
    }
  }

  void TakeReport() {
    const StepResult result = std::move(steps_.front().result);
    steps_.pop_front();
    --num_reached_;
    auto news = schedule_.Complete(result, Micros());
    ASSERT_TRUE(news.ok()) << news.status();
    Take(*news);
  }

  void Take(const std::vector<SequenceNews>& news) {
    for (const SequenceNews& item : news) {
      const auto found = callers_.find(item.id);
      ASSERT_TRUE(found != callers_.end() && !found->second.ended) << "sequence " << item.id;
      StoryCaller& caller = found->second;
      if (item.token.has_value()) {
        ASSERT_EQ(*item.token, memory_->NextToken(caller.tokens, caller.num_prompt))
            << "sequence " << item.id;
        caller.tokens.push_back(*item.token);
        caller.num_losses = caller.num_cut_links = 0;
      }
      if (!item.ending.has_value()) continue;
      if (item.ending->cause == FinishCause::kFailed ||
          item.ending->cause == FinishCause::kNotCarried) {
        ASSERT_EQ(due_to_fail_.erase(item.id), 1u)
            << "sequence " << item.id << ": " << item.ending->message;
      }
      SCOPED_TRACE("sequence " + std::to_string(item.id));
      caller.End(*item.ending, Micros(), MaxLen());
    }
  }

  void CheckEnd() {
    for (const auto& [id, caller] : callers_) {
      ASSERT_TRUE(caller.ended) << "sequence " << id << " never ends";
    }
    const ScheduleCounts counts = schedule_.counts();
    EXPECT_EQ(counts.num_running + counts.num_waiting + counts.num_paused, 0u);
    EXPECT_EQ(counts.num_suspended, 0u);
    EXPECT_EQ(counts.num_used_blocks, 0u);
    EXPECT_EQ(memory_->num_sequences(), 0u);
    EXPECT_TRUE(schedule_.idle());
    EXPECT_TRUE(schedule_.LiveIds().empty());
    EXPECT_EQ(schedule_.ledger()->num_tables(), 0u);
  }

  StoryDraws draws_;
  const uint32_t num_stages_;
  const uint32_t num_blocks_;
  const bool loses_stages_;
  const uint32_t num_drafts_;  // behind each token that is sampled
  bool expands_prompts_;
  const Refill refill_;
  const ScheduleOptions options_;
  Schedule schedule_;
  std::optional<StageMemory> memory_;
  simulate::PipelineClock clock_;
  std::map<SequenceId, StoryCaller> callers_;  // that were taken
  std::set<SequenceId> suspended_;             // of these; they may have ended since
  std::deque<Sent> steps_;
  size_t num_reached_ = 0;  // of these steps, the last stage
  std::set<SequenceId> due_to_fail_;
  uint64_t num_submitted_ = 0;
  uint64_t num_others_ = 0;          // of these, that are not refilled
  std::set<SequenceId> others_;      // of those taken, that have not ended
  std::set<SequenceId> refilled_;    // likewise, of the others
  std::array<uint32_t, 4> weights_;  // of the keys a, b and c, and of what is refilled
  uint64_t num_requests_ = 0;
  uint64_t num_steps_ = 0;
  double mean_gap_ = 0;
  double now_ = 0;
};

TEST(ScheduleProperty, HoldsUnderRandomLoads) {
  const uint64_t end = g_seeds.first + g_seeds.count;
  for (uint64_t seed = g_seeds.first; seed < end && !HasFailure(); ++seed) {
    SCOPED_TRACE("replay with --seed=" + std::to_string(seed));
    Story(seed).Play();
  }
}

}  // namespace
}  // namespace baton::scheduler

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  baton::scheduler::g_seeds = baton::scheduler::SeedsOf(argc, argv);
  return RUN_ALL_TESTS();
}
