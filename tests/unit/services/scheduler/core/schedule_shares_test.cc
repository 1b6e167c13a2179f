// What keys get over many steps: nobody within its share waits, and what is cached costs nothing.
#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/core/place.h"

namespace baton::scheduler {
namespace {

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
  ScheduleOptions options = PlaceOptions(sum + below(2 * sum), below(2));
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

TEST(ScheduleShares, NobodyWithinItsShareWaits) {
  for (uint64_t seed = 1; seed <= 100 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    PlayAggression(seed);
  }
}

// Of two keys with the same prompts, the one whose prompts are found in the cache is served more.
TEST(ScheduleShares, CachedTokensAreNotCharged) {
  ScheduleOptions options = PlaceOptions(1, 0);
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
