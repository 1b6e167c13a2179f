#include "tools/simulate/simulation.h"

#include <algorithm>
#include <limits>
#include <random>
#include <utility>

#include "common/log/check.h"
#include "services/scheduler/core/core_time.h"

namespace baton::simulate {
namespace {

using scheduler::Batch;
using scheduler::BatchRow;
using scheduler::Schedule;
using scheduler::SequenceId;
using scheduler::StepResult;
using scheduler::StepWork;

constexpr scheduler::TokenId kToken = 2;
constexpr double kNever = std::numeric_limits<double>::infinity();

void AddTo(std::vector<double>* sum, const std::vector<double>& more) {
  sum->resize(std::max(sum->size(), more.size()), 0.0);
  for (size_t i = 0; i < more.size(); ++i) (*sum)[i] += more[i];
}

class Simulation final {
 public:
  Simulation(const SimulationOptions& options, const std::vector<SimulatedRequest>& requests)
      : requests_(requests),
        num_drafts_(options.schedule.num_speculative_tokens),
        is_right_(options.acceptance),
        schedule_(options.schedule),
        clock_(options.stages, options.wires) {
    schedule_.OpenEpoch(options.num_blocks);
  }

  SimulationResult Run() {
    while (true) {
      const double arrival = next_ < requests_.size() ? requests_[next_].arrival : kNever;
      const double report = steps_.empty() ? kNever : steps_.front().times.reported;
      const double reach =
          num_reached_ < steps_.size() ? steps_[num_reached_].times.reached_last : kNever;
      const double next = std::min({arrival, report, reach});
      if (next == kNever) break;
      PassTo(next);
      if (reach == next) {
        schedule_.ReachLastStage(steps_[num_reached_++].times.id);
      } else if (report == next) {
        TakeReport();
      } else {
        Submit(requests_[next_++]);
      }
      SendSteps();
    }
    BATON_CHECK(live_.empty()) << live_.size() << " requests were never answered";
    return Finish();
  }

 private:
  struct Live {
    double arrival = 0;
    double first_token = 0;
    uint64_t num_tokens = 0;
  };
  struct Sent {
    StepTimes times;
    std::vector<BatchRow> rows;
  };

  scheduler::TimeUs Micros() const { return static_cast<scheduler::TimeUs>(now_ * 1e6); }

  void PassTo(double now) {
    const auto counts = schedule_.counts();
    const double used = static_cast<double>(counts.num_used_blocks) / counts.num_total_blocks;
    kv_seconds_ += used * (now - now_);
    result_.peak_kv_used = std::max(result_.peak_kv_used, used);
    now_ = now;
  }

  void Submit(const SimulatedRequest& request) {
    scheduler::SequenceRequest sequence;
    sequence.id = ++num_submitted_;
    sequence.prompt.assign(request.input_tokens, 1);
    for (uint32_t i = 0; i < std::min<uint32_t>(request.input_tokens, 8); ++i) {
      // Prompts differ from their first tokens on.
      sequence.prompt[i] = static_cast<uint32_t>(sequence.id >> (8 * i)) & 0xff;
    }
    sequence.stop.max_tokens = request.output_tokens;
    sequence.stop.ignore_eos = true;
    ++result_.num_requests;
    scheduler::Admission admission;
    const bool taken = schedule_.Add(std::move(sequence), Micros(), &admission).ok();
    for (const scheduler::SequenceNews& other : admission.displaced) {
      ++result_.num_refused;
      live_.erase(other.id);
    }
    if (!taken) {
      ++result_.num_refused;
      return;
    }
    result_.input_tokens += request.input_tokens;
    live_[num_submitted_] = {.arrival = request.arrival};
  }

  void SendSteps() {
    while (std::optional<Batch> batch = schedule_.NextBatch(Micros())) {
      StepWork work;
      bool has_prompt = false;
      for (const BatchRow& row : batch->rows) {
        scheduler::AddWork(row, &work);
        const scheduler::Sequence* sequence = schedule_.Find(row.id);
        has_prompt |=
            row.num_tokens > 1 + row.drafts.size() || row.begin < sequence->num_prompt_tokens();
      }
      Sent sent{clock_.Send(now_, batch->step_id, work, batch->feedback_step(), fresh_),
                std::move(batch->rows)};
      if (!sent.rows.empty()) {
        if (fresh_) ++result_.num_bursts;
        fresh_ = false;
        StageUse use{.num_steps = 1,
                     .num_tokens = work.tokens,
                     .compute = sent.times.compute,
                     .idle = sent.times.idle};
        (has_prompt ? result_.prompt : result_.decode) += use;
      }
      steps_.push_back(std::move(sent));
    }
  }

  void TakeReport() {
    const Sent sent = std::move(steps_.front());
    steps_.pop_front();
    --num_reached_;
    StepResult answer{.step_id = sent.times.id};
    answer.stage_seconds = sent.times.compute;
    for (const BatchRow& row : sent.rows) {
      if (row.sample) AddTokens(row, &answer);
    }
    const auto news = schedule_.Complete(answer, Micros());
    BATON_CHECK(news.ok()) << news.status().message();
    for (const scheduler::SequenceNews& item : *news) TakeNews(item);
    const auto counts = schedule_.counts();
    if (counts.num_running == 0 && counts.num_waiting == 0 && !fresh_) {
      fresh_ = true;
      AddTo(&result_.drain_idle, clock_.DrainIdle());
    }
  }

  // Every token of every answer is the same; a wrong guess is another.
  void AddTokens(const BatchRow& row, StepResult* answer) {
    auto position = row.begin + row.num_tokens - static_cast<uint32_t>(row.drafts.size());
    answer->tokens.push_back({row.id, position, kToken});
    for (size_t i = 0; i < row.drafts.size() && row.drafts[i] == kToken; ++i) {
      answer->tokens.push_back({row.id, ++position, kToken});
    }
    if (num_drafts_ == 0) return;
    StepResult::Drafts& drafts = answer->drafts.emplace_back();
    drafts.id = row.id;
    while (drafts.tokens.size() < num_drafts_) {
      drafts.tokens.push_back(is_right_(random_) ? kToken : kToken + 1);
    }
  }

  void TakeNews(const scheduler::SequenceNews& news) {
    Live& live = live_.at(news.id);
    if (news.token.has_value()) {
      ++result_.output_tokens;
      if (++live.num_tokens == 1) live.first_token = now_;
    }
    if (!news.ending.has_value()) return;
    result_.seconds = now_;
    result_.ttft.push_back(live.first_token - live.arrival);
    result_.e2e.push_back(now_ - live.arrival);
    if (live.num_tokens > 1) {
      result_.tpot.push_back((now_ - live.first_token) / static_cast<double>(live.num_tokens - 1));
    }
    live_.erase(news.id);
  }

  SimulationResult Finish() {
    for (std::vector<double>* times : {&result_.ttft, &result_.tpot, &result_.e2e}) {
      std::sort(times->begin(), times->end());
    }
    result_.num_preemptions = schedule_.counts().num_preemptions;
    result_.drafts = schedule_.counts().drafts;
    result_.mean_kv_used = now_ > 0 ? kv_seconds_ / now_ : 0;
    return std::move(result_);
  }

  const std::vector<SimulatedRequest>& requests_;
  const uint32_t num_drafts_;
  std::bernoulli_distribution is_right_;
  std::mt19937_64 random_{1};
  Schedule schedule_;
  PipelineClock clock_;
  SimulationResult result_;
  std::deque<Sent> steps_;
  size_t num_reached_ = 0;  // of these steps, the last stage
  std::unordered_map<SequenceId, Live> live_;
  size_t next_ = 0;
  SequenceId num_submitted_ = 0;
  double now_ = 0;
  double kv_seconds_ = 0;
  bool fresh_ = true;  // nothing to do since the last step
};

}  // namespace

double StageUse::Bubble() const {
  double bubble = 1.0;
  for (size_t i = 0; i < compute.size(); ++i) {
    if (compute[i] > 0) bubble = std::min(bubble, idle[i] / (compute[i] + idle[i]));
  }
  return compute.empty() ? 0 : bubble;
}

StageUse& StageUse::operator+=(const StageUse& other) {
  num_steps += other.num_steps;
  num_tokens += other.num_tokens;
  AddTo(&compute, other.compute);
  AddTo(&idle, other.idle);
  return *this;
}

StageUse SimulationResult::All() const {
  StageUse all = decode;
  all += prompt;
  AddTo(&all.idle, drain_idle);
  return all;
}

double SimulationResult::IdealBubble() const {
  const StageUse all = All();
  if (all.num_steps == 0) return 0;
  const double fill = static_cast<double>((all.compute.size() - 1) * num_bursts);
  return fill / (fill + static_cast<double>(all.num_steps));
}

SimulationResult Simulate(const SimulationOptions& options,
                          const std::vector<SimulatedRequest>& requests) {
  return Simulation(options, requests).Run();
}

}  // namespace baton::simulate
