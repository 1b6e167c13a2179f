// A schedule whose steps are done in the order in which they were formed, for tests of shares.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "services/scheduler/core/schedule.h"
#include "tests/unit/services/scheduler/core/sequences.h"

namespace baton::scheduler {

// One stage with two steps in flight, as with lookahead: a schedule and the steps that it formed.
// Every token is a 7, and so is every guess.
class Place {
 public:
  explicit Place(ScheduleOptions options, uint32_t num_blocks = 10000, bool expands_prompts = false)
      : num_steps_in_flight_(options.max_steps_in_flight + options.lookahead_steps),
        num_guesses_(options.num_speculative_tokens),
        schedule(std::move(options)) {
    schedule.OpenEpoch(num_blocks, expands_prompts);
  }

  void Add(SequenceId id, const std::string& key, uint32_t prompt_tokens, uint32_t max_tokens,
           uint32_t weight = 1, int32_t priority = 0) {
    SequenceRequest request = MakeRequest(id, prompt_tokens, max_tokens);
    request.priority = priority;
    request.fairness_key = key;
    request.fairness_weight = weight;
    ASSERT_TRUE(schedule.Add(std::move(request), now).ok());
  }
  // Forms a step; the oldest is done once as many are in flight as may be. Null rows: none was due.
  std::optional<Batch> Step() {
    std::optional<Batch> batch = schedule.NextBatch(now);
    if (batch.has_value()) {
      schedule.ReachLastStage(batch->step_id);
      in_flight_.push_back(*batch);
    }
    if (!in_flight_.empty() && (!batch.has_value() || in_flight_.size() >= num_steps_in_flight_)) {
      Finish();
    }
    return batch;
  }
  void Finish() {
    StepResult result{.step_id = in_flight_.front().step_id};
    for (const BatchRow& row : in_flight_.front().rows) {
      if (!row.sample) continue;
      const auto num_drafts = static_cast<uint32_t>(row.drafts.size());
      for (uint32_t i = 0; i <= num_drafts; ++i) {
        result.tokens.push_back({row.id, row.begin + row.num_tokens - num_drafts + i, 7});
      }
      if (num_guesses_ > 0)
        result.drafts.push_back({row.id, std::vector<TokenId>(num_guesses_, 7)});
    }
    in_flight_.pop_front();
    const auto news = schedule.Complete(result);
    ASSERT_TRUE(news.ok()) << news.status();
    for (const SequenceNews& item : *news) {
      if (item.ending.has_value()) ended.push_back(item.id);
    }
  }
  // Steps until the one with the first row of `id`, that one included; 0: not within `most`.
  uint32_t StepsUntilRowOf(SequenceId id, uint32_t most) {
    for (uint32_t step = 1; step <= most; ++step) {
      if (RowOf(Step(), id).has_value()) return step;
    }
    return 0;
  }
  static std::optional<BatchRow> RowOf(const std::optional<Batch>& batch, SequenceId id) {
    if (!batch.has_value()) return std::nullopt;
    for (const BatchRow& row : batch->rows) {
      if (row.id == id) return row;
    }
    return std::nullopt;
  }

 private:
  const size_t num_steps_in_flight_;
  const size_t num_guesses_;
  std::deque<Batch> in_flight_;

 public:
  TimeUs now = 0;
  Schedule schedule;
  std::vector<SequenceId> ended;
};

inline ScheduleOptions PlaceOptions(uint32_t max_running, uint32_t lookahead = 1) {
  ScheduleOptions options;
  options.max_model_len = 8192;
  options.vocab_size = 1024;
  options.max_running = max_running;
  options.max_waiting = 100000;
  options.lookahead_steps = lookahead;
  return options;
}

}  // namespace baton::scheduler
