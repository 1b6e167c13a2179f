// What a key that asks now and then feels of one that floods, in seconds: the core on a virtual
// clock against modelled stages of DeepSeek-R1 (tools/simulate), so that the figures are the same
// on every machine.
#include <algorithm>
#include <cmath>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "services/scheduler/core/schedule.h"
#include "tests/unit/services/scheduler/core/sequences.h"
#include "tools/simulate/pipeline_clock.h"

namespace baton::scheduler {
namespace {

struct AggressorSetting {
  const char* name;
  uint32_t prompt_tokens;
  uint32_t max_step_tokens;
  uint32_t lookahead_steps;
  double max_step_seconds;  // 0: prompts are not cut for it
  double most;              // times the victim's time alone, at the 99th percentile
  double least;             // answers to the aggressor a second
  // Another machine than R1's: prices of its one stage, and places. Answers are short there.
  CostTerms prices = {};
  uint32_t max_running = 64;
  uint32_t num_blocks = 20000;
  uint32_t num_flood = 0;     // live sequences of the aggressor; 0: one waits for each place
  uint32_t flood_tokens = 0;  // of its prompts; 0: as the victim's
};

// A small model on a few cores, where tokens cost the more the more there are: in milliseconds, a
// step 1, its experts 0.5, a token 0.3, one that samples 0.4 more.
constexpr CostTerms kFewCores{.values = {1e-3, 0.5e-3, 0.3e-3, 1e-6, 1e-7, 5e-9, 0.4e-3}};
// The same on cores four times as fast.
constexpr CostTerms kFastCores{.values = {0.25e-3, 0.125e-3, 75e-6, 0.25e-6, 25e-9, 1.25e-9, 1e-4}};

constexpr uint32_t kNumStages = 2;
constexpr uint32_t kVictims = 200;

// The victim asks again when it was answered; the aggressor keeps the queue full.
class Contest {
 public:
  Contest(const AggressorSetting& setting, bool has_aggressor)
      : setting_(setting),
        has_aggressor_(has_aggressor),
        schedule_(Options(setting)),
        clock_(Stages(setting), {}) {
    schedule_.OpenEpoch(setting.num_blocks);
  }

  // Seconds to the first token of each of the victim's requests, sorted.
  std::vector<double> Play() {
    while (first_tokens_.size() < kVictims && !testing::Test::HasFatalFailure()) {
      if (has_aggressor_) Flood();
      // Not in step with the steps: at another part of one each time.
      if (victim_ == 0 && now_ >= next_ask_) Ask();
      SendSteps();
      Pass();
    }
    std::sort(first_tokens_.begin(), first_tokens_.end());
    return first_tokens_;
  }
  double mean_step_seconds() const { return now_ / static_cast<double>(num_steps_); }
  double seconds() const { return now_; }
  uint64_t num_aggressors_done() const { return num_done_; }

 private:
  struct SentStep {
    double reached_last;
    double reported;
    bool reached = false;
    StepResult result;
  };

  static bool IsR1(const AggressorSetting& setting) { return setting.prices.values[0] == 0; }
  static StepCostOptions Prices(const AggressorSetting& setting) {
    if (IsR1(setting)) return simulate::R1StepCost(kNumStages);
    return {.prior = {setting.prices}, .expert_share = 0.25};
  }
  static simulate::StageTimes Stages(const AggressorSetting& setting) {
    if (IsR1(setting)) return simulate::StageTimes(kNumStages, 0.5);
    return simulate::StageTimes(Prices(setting), 1);
  }
  static ScheduleOptions Options(const AggressorSetting& setting) {
    ScheduleOptions options;
    options.max_step_tokens = setting.max_step_tokens;
    options.max_running = setting.max_running;
    options.max_waiting = 1000;
    options.max_steps_in_flight = IsR1(setting) ? kNumStages : 1;
    options.lookahead_steps = setting.lookahead_steps;
    options.max_step_seconds = setting.max_step_seconds;
    options.step_cost = Prices(setting);
    options.max_model_len = 32768;
    options.vocab_size = 1024;
    options.prefix_caching = false;
    return options;
  }

  void Add(const char* key, uint32_t prompt_tokens, uint32_t max_tokens) {
    SequenceRequest request = MakeRequest(++last_id_, prompt_tokens, max_tokens);
    request.fairness_key = key;
    ASSERT_TRUE(schedule_.Add(std::move(request), Micros()).ok());
  }
  void Flood() {
    const uint32_t least = IsR1(setting_) ? 128 : 16;
    const uint32_t prompt_tokens =
        setting_.flood_tokens > 0 ? setting_.flood_tokens : setting_.prompt_tokens;
    const auto wants_more = [this] {
      return setting_.num_flood > 0 ? num_asked_ - num_done_ < setting_.num_flood
                                    : schedule_.counts().num_waiting < setting_.max_running;
    };
    for (; wants_more() && !testing::Test::HasFatalFailure(); ++num_asked_) {
      Add("aggressor", prompt_tokens, least + last_id_ % least);
    }
  }
  void Ask() {
    Add("victim", setting_.prompt_tokens, 4);
    victim_ = last_id_;
    asked_ = now_;
  }
  TimeUs Micros() const { return static_cast<TimeUs>(now_ * 1e6); }

  void SendSteps() {
    while (std::optional<Batch> batch = schedule_.NextBatch(Micros())) {
      StepWork work;
      SentStep sent{.result = {.step_id = batch->step_id}};
      for (const BatchRow& row : batch->rows) {
        work.Add(row.begin, row.num_tokens, row.sample);
        if (row.sample) sent.result.tokens.push_back({row.id, row.begin + row.num_tokens, 7});
      }
      const simulate::StepTimes times =
          clock_.Send(now_, batch->step_id, work, batch->feedback_step(), false);
      sent.reached_last = times.reached_last;
      sent.reported = times.reported;
      sent.result.stage_seconds = times.compute;
      steps_.push_back(std::move(sent));
      ++num_steps_;
    }
  }

  // To the next event.
  void Pass() {
    double next = victim_ == 0 ? std::max(now_, next_ask_) : HUGE_VAL;
    SentStep* reaching = nullptr;
    for (SentStep& step : steps_) {
      if (step.reached) continue;
      if (step.reached_last < next) {
        next = step.reached_last;
        reaching = &step;
      }
      break;
    }
    if (!steps_.empty() && steps_.front().reported <= next) {
      now_ = steps_.front().reported;
      const StepResult result = std::move(steps_.front().result);
      steps_.pop_front();
      const auto news = schedule_.Complete(result, Micros());
      ASSERT_TRUE(news.ok()) << news.status();
      for (const SequenceNews& item : *news) Take(item);
      return;
    }
    now_ = next;
    if (reaching == nullptr) return;
    reaching->reached = true;
    schedule_.ReachLastStage(reaching->result.step_id);
  }

  void Take(const SequenceNews& item) {
    if (item.id != victim_) {
      if (item.ending.has_value()) ++num_done_;
      return;
    }
    if (!std::exchange(was_answered_, true)) first_tokens_.push_back(now_ - asked_);
    if (!item.ending.has_value()) return;
    victim_ = 0;
    was_answered_ = false;
    next_ask_ = now_ + 0.003 + 0.017 * static_cast<double>(last_id_ % 31);
  }

  const AggressorSetting setting_;
  const bool has_aggressor_;
  Schedule schedule_;
  simulate::PipelineClock clock_;
  std::deque<SentStep> steps_;
  std::vector<double> first_tokens_;
  double now_ = 0;
  double asked_ = 0;
  double next_ask_ = 1;  // the aggressor is at full speed by then
  SequenceId last_id_ = 0;
  SequenceId victim_ = 0;  // 0: it has none
  bool was_answered_ = false;
  uint64_t num_asked_ = 0;  // of the aggressor
  uint64_t num_done_ = 0;
  uint64_t num_steps_ = 0;
};

class Aggressor : public testing::TestWithParam<AggressorSetting> {};

TEST_P(Aggressor, IsFeltByAVictimForAFewSteps) {
  Contest alone(GetParam(), false);
  Contest beside(GetParam(), true);
  const std::vector<double> solo = alone.Play();
  const std::vector<double> shared = beside.Play();
  if (HasFatalFailure()) return;
  const auto at = [](const std::vector<double>& times, double share) {
    return times[static_cast<size_t>(share * static_cast<double>(times.size() - 1))];
  };
  const double ratio = at(shared, 0.99) / at(solo, 0.99);
  const std::string figures =
      "first token alone p50 " + std::to_string(at(solo, 0.5) * 1e3) + " ms, p99 " +
      std::to_string(at(solo, 0.99) * 1e3) + " ms; beside p50 " +
      std::to_string(at(shared, 0.5) * 1e3) + " ms, p99 " + std::to_string(at(shared, 0.99) * 1e3) +
      " ms; ratio of p99 " + std::to_string(ratio) + "; a step beside every " +
      std::to_string(beside.mean_step_seconds() * 1e3) + " ms; aggressor done " +
      std::to_string(static_cast<double>(beside.num_aggressors_done()) / beside.seconds()) + "/s";
  RecordProperty("figures", figures);
  EXPECT_LE(ratio, GetParam().most) << figures;
  const auto done = static_cast<double>(beside.num_aggressors_done());
  EXPECT_GE(done / beside.seconds(), GetParam().least) << figures;
}

INSTANTIATE_TEST_SUITE_P(
    Settings, Aggressor,
    testing::Values(
        AggressorSetting{"Prompts1024", 1024, 2048, 1, 0, 1.5, 8.4},
        AggressorSetting{"Prompts1024NotAhead", 1024, 2048, 0, 0, 1.5, 8.4},
        AggressorSetting{"Prompts1024SmallSteps", 1024, 512, 1, 0, 1.4, 7.3},
        AggressorSetting{"Prompts1024ShortSteps", 1024, 2048, 1, 0.02, 1.35, 7.8},
        AggressorSetting{"Prompts8192", 8192, 2048, 1, 0, 1.35, 2.8},
        AggressorSetting{"FewCores", 32, 2048, 1, 0, 1.5, 23, kFewCores, 16},
        AggressorSetting{"FewCores256", 256, 2048, 1, 0, 1.45, 7.3, kFewCores, 16},
        AggressorSetting{"FastCores", 32, 2048, 1, 0, 1.5, 86, kFastCores, 16},
        AggressorSetting{"ByBlocks", 1024, 2048, 1, 0, 1.5, 5.8, {}, 256, 600, 80},
        AggressorSetting{"FewCoresByBlocks", 32, 2048, 1, 0, 1.5, 23, kFewCores, 256, 24, 60},
        AggressorSetting{"FewCoresByTime", 32, 2048, 1, 0, 1.5, 23, kFewCores, 256, 20000, 40},
        AggressorSetting{"FewCoresTwelve", 32, 2048, 1, 0, 1.5, 23, kFewCores, 256, 20000, 12},
        AggressorSetting{"FewCoresFour", 32, 2048, 1, 0, 1.5, 23, kFewCores, 256, 20000, 4},
        // What every step pays anew is half of what the victim takes alone.
        AggressorSetting{"LongFlood", 200, 2048, 1, 0, 1.75, 1.45, {}, 64, 20000, 0, 8192},
        AggressorSetting{"FewCoresLongFlood", 32, 2048, 1, 0, 1.5, 1.8, kFewCores, 16, 20000, 0,
                         1024}),
    [](const auto& setting) { return std::string(setting.param.name); });

}  // namespace
}  // namespace baton::scheduler
