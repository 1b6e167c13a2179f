// How the places among the running, the tokens of a step and the blocks are shared between keys.
#include <algorithm>
#include <deque>
#include <iterator>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "services/scheduler/core/schedule.h"
#include "tests/unit/services/scheduler/core/sequences.h"

namespace baton::scheduler {
namespace {

// One stage with two steps in flight, as with lookahead: a schedule and the steps that it formed.
class Place {
 public:
  explicit Place(ScheduleOptions options, uint32_t num_blocks = 10000)
      : num_steps_in_flight_(options.max_steps_in_flight + options.lookahead_steps),
        schedule(std::move(options)) {
    schedule.OpenEpoch(num_blocks);
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
      if (row.sample) result.tokens.push_back({row.id, row.begin + row.num_tokens, 7});
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
  std::deque<Batch> in_flight_;

 public:
  TimeUs now = 0;
  Schedule schedule;
  std::vector<SequenceId> ended;
};

ScheduleOptions Options(uint32_t max_running, uint32_t lookahead = 1) {
  ScheduleOptions options;
  options.max_model_len = 8192;
  options.vocab_size = 1024;
  options.max_running = max_running;
  options.max_waiting = 100000;
  options.lookahead_steps = lookahead;
  return options;
}

TEST(SchedulePlaces, AKeyWithoutAPlaceGetsOneInTheNextStep) {
  Place place(Options(4));
  for (SequenceId id = 1; id <= 10; ++id) place.Add(id, "aggressor", 8, 1000);
  for (int step = 0; step < 5; ++step) place.Step();
  ASSERT_EQ(place.schedule.counts().num_running, 4u);
  place.Add(11, "victim", 8, 4);
  EXPECT_EQ(place.StepsUntilRowOf(11, 10), 1u);
  EXPECT_EQ(place.schedule.counts().num_running, 4u);
  EXPECT_EQ(place.schedule.counts().num_paused, 1u);
  EXPECT_EQ(place.schedule.counts().num_preemptions, 0u) << "what it computed is kept";
}

TEST(SchedulePlaces, AnOverdueWorseClassDoesNotCloseTheBest) {
  Place place(Options(2, 0));
  for (SequenceId id = 1; id <= 2; ++id) place.Add(id, "aggressor", 8, 1000);
  place.Step();
  place.Add(3, "batch", 8, 4, /*weight=*/1, /*priority=*/5);
  place.now = 11 * kSecond;
  place.Add(4, "victim", 8, 4);
  EXPECT_TRUE(Place::RowOf(place.Step(), 4).has_value());
}

// Small sequences of others take each block that comes free; one that needs most of the cache gets
// them all the same once it has waited too long.
TEST(SchedulePlaces, ALargeSequenceIsNotStarvedByClaims) {
  ScheduleOptions options = Options(8, 0);
  options.prefix_caching = false;
  options.priority_aging = kSecond;
  Place place(options, 100);
  SequenceId last_id = 1;
  std::map<SequenceId, std::string> live;
  const auto refill = [&] {
    for (const SequenceId id : place.ended) live.erase(id);
    for (const std::string key : {"b", "c", "d"}) {
      const auto count = std::count_if(live.begin(), live.end(),
                                       [&](const auto& entry) { return entry.second == key; });
      for (auto i = count; i < 2; ++i) {
        live[++last_id] = key;
        place.Add(last_id, key, 640, 30 + static_cast<uint32_t>(last_id % 7));
      }
    }
  };
  bool has_row = false;
  for (int step = 0; step < 300 && !has_row; ++step) {
    refill();
    if (step == 5) place.Add(1, "a", 5800, 4);
    has_row = Place::RowOf(place.Step(), 1).has_value();
    place.now += kSecond / 10;
  }
  EXPECT_TRUE(has_row);
}

TEST(SchedulePlaces, ThePlaceIsTheLatestOfTheKeyMostOverItsShare) {
  Place place(Options(6));
  for (SequenceId id = 1; id <= 4; ++id) place.Add(id, "large", 8, 1000);
  for (SequenceId id = 5; id <= 6; ++id) place.Add(id, "small", 8, 1000);
  place.Step();
  place.Add(7, "new", 8, 1000);
  place.Step();
  EXPECT_EQ(place.schedule.Find(4)->state(), Sequence::State::kPaused);
  EXPECT_EQ(place.schedule.Find(7)->state(), Sequence::State::kRunning);
}

TEST(SchedulePlaces, WhatIsPausedGoesOnBeforeNewcomersOfItsKey) {
  Place place(Options(2));
  for (SequenceId id = 1; id <= 3; ++id) place.Add(id, "aggressor", 8, 40);
  place.Step();
  place.Add(4, "victim", 8, 3);
  ASSERT_EQ(place.StepsUntilRowOf(4, 2), 1u);
  ASSERT_EQ(place.schedule.Find(2)->state(), Sequence::State::kPaused);
  while (place.ended.empty()) place.Step();
  EXPECT_EQ(place.ended, std::vector<SequenceId>{4});
  EXPECT_TRUE(Place::RowOf(place.Step(), 2).has_value());
  EXPECT_EQ(place.schedule.Find(3)->state(), Sequence::State::kWaiting);
  while (place.ended.size() < 4) place.Step();
  EXPECT_EQ(place.schedule.counts().num_used_blocks, 0u);
}

TEST(SchedulePlaces, KeysWithinTheirSharesKeepTheirPlaces) {
  Place place(Options(4));
  for (SequenceId id = 1; id <= 2; ++id) place.Add(id, "a", 8, 1000);
  for (SequenceId id = 3; id <= 4; ++id) place.Add(id, "b", 8, 1000);
  place.Step();
  place.Add(5, "b", 8, 1000);
  for (int step = 0; step < 10; ++step) place.Step();
  EXPECT_EQ(place.schedule.counts().num_pauses, 0u);
  EXPECT_EQ(place.schedule.Find(5)->state(), Sequence::State::kWaiting);
}

TEST(SchedulePlaces, SharesGoByWeight) {
  Place place(Options(8));
  for (SequenceId id = 1; id <= 20; ++id) place.Add(id, "light", 8, 1000);
  place.Step();
  for (SequenceId id = 21; id <= 40; ++id) place.Add(id, "heavy", 8, 1000, 3);
  place.Step();
  uint32_t num_heavy = 0;
  for (SequenceId id = 21; id <= 40; ++id) {
    num_heavy += place.schedule.Find(id)->state() == Sequence::State::kRunning ? 1 : 0;
  }
  EXPECT_EQ(num_heavy, 6u);
  EXPECT_EQ(place.schedule.counts().num_pauses, 6u);
}

TEST(SchedulePlaces, ABetterClassKeepsItsPlaces) {
  Place place(Options(2));
  for (SequenceId id = 1; id <= 2; ++id) {
    SequenceRequest request = MakeRequest(id, 8, 100);
    request.fairness_key = "urgent";
    request.priority = -1;
    ASSERT_TRUE(place.schedule.Add(std::move(request)).ok());
  }
  place.Step();
  place.Add(3, "ordinary", 8, 10);
  for (int step = 0; step < 10; ++step) place.Step();
  EXPECT_EQ(place.schedule.Find(3)->state(), Sequence::State::kWaiting);
}

TEST(SchedulePlaces, LongPromptsOfOneKeyLeaveAnotherItsPartOfTheStep) {
  ScheduleOptions options = Options(8, 0);
  options.max_step_tokens = 1024;
  Place place(options);
  for (SequenceId id = 1; id <= 4; ++id) place.Add(id, "aggressor", 8000, 10);
  for (int step = 0; step < 2; ++step) place.Step();
  place.Add(5, "victim", 1500, 10);
  for (uint32_t step = 0; step < 3; ++step) {
    const std::optional<Batch> batch = place.Step();
    const std::optional<BatchRow> row = Place::RowOf(batch, 5);
    ASSERT_TRUE(row.has_value());
    EXPECT_GE(row->num_tokens, step < 2 ? 512u : 1500u - 1024u);
    EXPECT_GE(batch->num_tokens(), 1024u - 64u) << "the step is full all the same";
  }
  EXPECT_EQ(place.schedule.Find(5)->num_generated(), 1u);
}

TEST(SchedulePlaces, BlocksAreTakenFromAKeyOverItsShareButNotForEver) {
  ScheduleOptions options = Options(8);
  options.prefix_caching = false;
  Place place(options, 100);
  for (SequenceId id = 1; id <= 4; ++id) place.Add(id, "aggressor", 1500, 60);  // 24 blocks each
  for (int step = 0; step < 6; ++step) place.Step();
  ASSERT_EQ(place.schedule.counts().num_running, 4u);
  SequenceId victim = 10;
  // One step holds back what is in flight, the next one has its blocks.
  for (int round = 0; round < 8; ++round, ++victim) {
    place.Add(victim, "victim", 640, 2);
    const uint32_t steps = place.StepsUntilRowOf(victim, 100);
    if (round < 2) {
      EXPECT_LE(steps, 3u) << round;
    }
    while (place.schedule.Find(victim) != nullptr) place.Step();
  }
  for (int step = 0; step < 1000 && place.ended.size() < 12; ++step) place.Step();
  EXPECT_EQ(place.ended.size(), 12u);
  EXPECT_LE(place.schedule.counts().num_preemptions, 6u) << "no sequence yields more than twice";
  EXPECT_GE(place.schedule.counts().num_preemptions, 1u);
}

// All places are a better class's, but for one that is its key's share. What is paused does not
// lose what it has computed for one that could not begin.
TEST(SchedulePlaces, NobodyGivesUpBlocksForOneThatFindsNoPlace) {
  ScheduleOptions options = Options(4, 0);
  options.prefix_caching = false;
  options.max_step_tokens = 65536;
  Place place(options, 340);
  for (SequenceId id = 1; id <= 4; ++id) place.Add(id, "aggressor", 82 * 64 - 70, 60);
  place.Step();
  for (SequenceId id = 5; id <= 7; ++id) place.Add(id, "urgent", 8, 1000, 15, -1);
  place.Step();
  ASSERT_EQ(place.schedule.counts().num_paused, 3u);
  place.Add(8, "victim", 15 * 64 - 8, 4);
  for (int step = 0; step < 5; ++step) EXPECT_FALSE(Place::RowOf(place.Step(), 8).has_value());
  EXPECT_EQ(place.schedule.counts().num_preemptions, 0u);
}

// What a key cannot have for a worse class, it may have for a better one.
TEST(SchedulePlaces, AClaimThatIsDeclinedIsOfItsClassAlone) {
  Place place(Options(2, 0));
  for (SequenceId id = 1; id <= 2; ++id) place.Add(id, "aggressor", 8, 1000);
  place.Step();
  place.Add(3, "victim", 8, 4, /*weight=*/1, /*priority=*/5);
  place.now = 11 * kSecond;
  place.Add(4, "victim", 8, 4);
  EXPECT_TRUE(Place::RowOf(place.Step(), 4).has_value());
}

TEST(SchedulePlaces, ALoneSequenceWaitsAloneBehindPausedOnes) {
  Place place(Options(2, 0));
  for (SequenceId id = 1; id <= 3; ++id) place.Add(id, "aggressor", 8, 1000);
  place.Step();
  place.Add(4, "victim", 8, 1000);
  place.Step();
  ASSERT_EQ(place.schedule.counts().num_paused, 1u);
  // Suspected of killing stages: it runs alone, and nothing that is paused keeps its blocks.
  for (int loss = 0; loss < 2; ++loss) {
    ASSERT_TRUE(place.schedule.NextBatch().has_value());
    ASSERT_TRUE(place.schedule.CloseEpoch().empty());
    place.schedule.OpenEpoch(2);
  }
  const std::optional<Batch> alone = place.schedule.NextBatch();
  ASSERT_TRUE(alone.has_value());
  EXPECT_EQ(alone->rows.size(), 1u);
  EXPECT_EQ(place.schedule.counts().num_paused, 0u);
}

// A request that comes stands behind the step that the first stage is at, and no other.
TEST(SchedulePlaces, NothingIsOrderedAheadWhileAnotherKeyMayCome) {
  ScheduleOptions options = Options(4, 1);
  options.max_steps_in_flight = 2;
  options.step_cost.prior.assign(2, CostTerms{.values = {1e-3, 0, 1e-5, 0, 0, 0, 0}});
  Place place(options);
  place.Add(1, "a", 8000, 4);
  for (int step = 0; step < 3; ++step) ASSERT_TRUE(place.schedule.NextBatch().has_value());
  for (StepId step = 1; step <= 3; ++step) {
    ASSERT_TRUE(place.schedule.Complete({.step_id = step}).ok());
  }
  place.Add(2, "a", 8000, 4);
  place.Add(3, "b", 8, 4);
  const std::optional<Batch> next = place.schedule.NextBatch();
  ASSERT_TRUE(Place::RowOf(next, 3).has_value());
  EXPECT_FALSE(place.schedule.NextBatch().has_value());
  place.schedule.ReachLastStage(next->step_id);
  EXPECT_TRUE(place.schedule.NextBatch().has_value());
}

// A key that has no more live than its share of the places never waits: each of its sequences has
// its first row in the very next step that is formed, and it keeps its place, whatever the others
// offer. (Blocks and the room of a step are enough here; one class.)
void PlayAggression(uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto below = [&random](uint32_t bound) { return static_cast<uint32_t>(random() % bound); };
  const uint32_t num_keys = 2 + below(5);
  std::vector<uint32_t> weights;
  uint32_t sum = 0;
  for (uint32_t key = 0; key < num_keys; ++key) sum += weights.emplace_back(1 + below(3));
  ScheduleOptions options = Options(sum + below(2 * sum), below(2));
  options.max_step_tokens = options.max_running + num_keys * 64;
  options.max_steps_in_flight = 1 + below(2);
  options.max_chunk_tokens = below(2) * 256;
  Place place(options);
  const uint32_t num_victims = 1 + below(num_keys - 1);
  std::map<SequenceId, uint32_t> victims;  // that have not had a row, with steps since they came
  std::vector<std::vector<SequenceId>> live(num_keys);
  SequenceId next = 1;
  for (int step = 0; step < 150; ++step) {
    for (uint32_t key = 0; key < num_keys; ++key) {
      std::erase_if(live[key], [&](SequenceId id) { return place.schedule.Find(id) == nullptr; });
      const bool is_victim = key < num_victims;
      const uint32_t share = options.max_running * weights[key] / sum;
      const size_t most = is_victim ? std::min(2u, share) : 3 * options.max_running;
      while (live[key].size() < most && (!is_victim || below(3) == 0)) {
        place.Add(next, std::to_string(key), is_victim ? 1 + below(8) : 1 + below(1500),
                  1 + below(is_victim ? 20 : 200), weights[key]);
        if (is_victim) victims[next] = 0;
        live[key].push_back(next++);
      }
    }
    const std::optional<Batch> batch = place.Step();
    if (!batch.has_value()) continue;
    ASSERT_LE(batch->rows.size(), options.max_running);
    ASSERT_LE(batch->num_tokens(), options.max_step_tokens);
    for (auto victim = victims.begin(); victim != victims.end();) {
      ASSERT_LE(++victim->second, 1u) << "sequence " << victim->first;
      const bool has_row = Place::RowOf(batch, victim->first).has_value();
      victim = has_row ? victims.erase(victim) : std::next(victim);
    }
    for (uint32_t key = 0; key < num_victims; ++key) {
      for (SequenceId id : live[key]) {
        const Sequence* sequence = place.schedule.Find(id);
        ASSERT_TRUE(sequence == nullptr || sequence->state() != Sequence::State::kPaused) << id;
      }
    }
  }
  ASSERT_LE(place.schedule.counts().num_pauses, 2 * next) << "places go back and forth";
  for (int step = 0; step < 1000000 && place.ended.size() + 1 < next; ++step) place.Step();
  ASSERT_EQ(place.ended.size() + 1, next) << "a sequence starves";
  ASSERT_EQ(place.schedule.counts().num_used_blocks, 0u);
}

TEST(SchedulePlaces, NobodyWithinItsShareWaits) {
  for (uint64_t seed = 1; seed <= 100 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    PlayAggression(seed);
  }
}

// Of two keys with the same prompts, the one whose prompts are found in the cache is served more.
TEST(SchedulePlaces, CachedTokensAreNotCharged) {
  ScheduleOptions options = Options(1, 0);
  options.block_tokens = 8;
  Place place(options);
  SequenceId next = 1;
  std::map<std::string, uint32_t> served;
  std::map<bool, uint32_t> num_live;
  for (int round = 0; round < 600; ++round) {
    for (const SequenceId id : std::exchange(place.ended, {})) {
      --num_live[id % 2 == 0];
      ++served[id % 2 == 0 ? "cached" : "new"];
    }
    while (num_live[true] < 4 || num_live[false] < 4) {
      const bool cached = next % 2 == 0;
      if (++num_live[cached] > 4) {
        --num_live[cached];
        ++next;
        continue;
      }
      SequenceRequest request = MakeRequest(next, 800, 8);
      for (size_t i = 0; i < request.prompt.size(); ++i) {
        request.prompt[i] = cached ? 5 : 2 + static_cast<TokenId>((next * 31 + i * 7) % 900);
      }
      request.fairness_key = cached ? "cached" : "new";
      ++next;
      ASSERT_TRUE(place.schedule.Add(std::move(request)).ok());
    }
    place.Step();
  }
  EXPECT_GE(served["cached"], 4 * std::max(1u, served["new"]));
}

}  // namespace
}  // namespace baton::scheduler
