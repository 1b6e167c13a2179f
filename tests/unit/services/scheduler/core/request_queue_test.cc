#include "services/scheduler/core/request_queue.h"

#include <deque>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/core/sequences.h"

namespace baton::scheduler {
namespace {

// A step computes all that is known of it, and samples.
void Generate(Sequence* sequence) {
  sequence->Advance(sequence->num_to_compute(), 1);
  sequence->FinishStep();
  sequence->AppendToken(7);
}

// A queue and the sequences that pass through it.
class Line {
 public:
  explicit Line(const QueueLimits& limits = {}) : queue(limits) {}

  struct Newcomer {
    std::string key;
    int32_t priority = 0;
    uint32_t prompt_tokens = 10;
    uint32_t answer_tokens = 10;
    uint32_t weight = 1;
  };
  Sequence* Add(const Newcomer& newcomer) {
    SequenceRequest request = MakeRequest(++num_made_, newcomer.prompt_tokens);
    request.fairness_key = newcomer.key;
    request.priority = newcomer.priority;
    request.fairness_weight = newcomer.weight;
    Sequence* sequence = &sequences_.emplace_back(std::move(request), num_made_);
    queue.Push(sequence, newcomer.answer_tokens);
    return sequence;
  }
  // The next one begins; null if none waits.
  Sequence* Serve() {
    Sequence* front = queue.Front();
    if (front != nullptr) queue.Take(front);
    return front;
  }
  // It begins and ends at once, after `generated` tokens.
  Sequence* Finish(uint32_t generated) {
    Sequence* front = Serve();
    for (uint32_t i = 0; i < generated; ++i) Generate(front);
    queue.Leave(front);
    return front;
  }

  RequestQueue queue;

 private:
  std::deque<Sequence> sequences_;
  uint64_t num_made_ = 0;
};

TEST(RequestQueue, HasNoFrontWhenEmpty) { EXPECT_EQ(Line().queue.Front(), nullptr); }

TEST(RequestQueue, ServesAKeyInOrderOfArrival) {
  Line line;
  std::vector<Sequence*> added;
  for (uint32_t i = 0; i < 20; ++i) added.push_back(line.Add({.key = "a", .prompt_tokens = 1 + i}));
  for (Sequence* sequence : added) EXPECT_EQ(line.Serve(), sequence);
  EXPECT_TRUE(line.queue.empty());
}

TEST(RequestQueue, ServesLowPriorityNumbersFirst) {
  Line line;
  Sequence* ordinary = line.Add({.key = "a"});
  Sequence* urgent = line.Add({.key = "a", .priority = -5});
  EXPECT_EQ(line.Serve(), urgent);
  EXPECT_EQ(line.Serve(), ordinary);
}

TEST(RequestQueue, ServesTheKeyThatHadLeast) {
  Line line;
  for (int i = 0; i < 3; ++i) line.Add({.key = "greedy", .prompt_tokens = 100});
  EXPECT_EQ(line.Serve()->fairness_key(), "greedy");
  Sequence* modest = line.Add({.key = "modest"});
  EXPECT_EQ(line.Serve(), modest);
  EXPECT_EQ(line.Serve()->fairness_key(), "greedy");
}

TEST(RequestQueue, KeepsThePlaceOfThoseThatReturn) {
  Line line;
  Sequence* first = line.Add({.key = "a"});
  Sequence* second = line.Add({.key = "a"});
  line.Add({.key = "a"});
  line.Add({.key = "b"});
  ASSERT_EQ(line.Serve(), first);
  ASSERT_EQ(line.Serve()->fairness_key(), "b");
  ASSERT_EQ(line.Serve(), second);
  line.queue.Push(second, 10);
  line.queue.Push(first, 10);
  EXPECT_EQ(line.Serve(), first);
  EXPECT_EQ(line.Serve(), second);
}

TEST(RequestQueue, AClassThatWaitedForLongGetsATurn) {
  Line line({.aging = 10 * kSecond});
  Sequence* low = line.Add({.key = "a", .priority = 9});
  Sequence* next_low = line.Add({.key = "a", .priority = 9});
  for (int i = 0; i < 30; ++i) line.Add({.key = "b"});
  line.queue.AdvanceTo(10 * kSecond - 1);
  EXPECT_EQ(line.Serve()->priority(), 0);
  line.queue.AdvanceTo(10 * kSecond);
  EXPECT_EQ(line.Serve(), low);
  EXPECT_EQ(line.Serve()->priority(), 0);
  line.queue.AdvanceTo(20 * kSecond - 1);
  EXPECT_EQ(line.Serve()->priority(), 0);
  line.queue.AdvanceTo(20 * kSecond);
  EXPECT_EQ(line.Serve(), next_low);
}

TEST(RequestQueue, NobodyStarvesUnderEndlessBetterClasses) {
  Line line({.aging = 5 * kSecond});
  std::mt19937 random(3);
  std::map<const Sequence*, TimeUs> arrivals;
  TimeUs now = 0;
  for (int i = 0; i < 40; ++i) {
    arrivals[line.Add({.key = std::to_string(i % 4), .priority = 1 + i % 3})] = now;
  }
  // The best class never runs dry; ten are served a second.
  for (int i = 0; i < 3000 && !arrivals.empty(); ++i) {
    now += kSecond / 10;
    line.queue.AdvanceTo(now);
    line.Add({.key = std::to_string(random() % 3)});
    arrivals.erase(line.Serve());
  }
  EXPECT_TRUE(arrivals.empty());
}

// What two keys that always wait have had differs, by weight, by no more than a sequence of each.
void ExpectShares(const std::map<std::string, uint32_t>& weights, uint32_t seed) {
  constexpr uint32_t kMostTokens = 200;
  Line line;
  std::mt19937 random(seed);
  std::map<std::string, double> served;
  const auto add = [&](const std::string& key) {
    line.Add({.key = key,
              .prompt_tokens = 1 + static_cast<uint32_t>(random() % (kMostTokens - 10)),
              .weight = weights.at(key)});
  };
  for (const auto& [key, weight] : weights) {
    for (int i = 0; i < 3; ++i) add(key);
  }
  for (int i = 0; i < 2000; ++i) {
    Sequence* next = line.Serve();
    served[next->fairness_key()] += next->num_tokens() + 10.0;
    add(next->fairness_key());
    for (const auto& [a, a_weight] : weights) {
      for (const auto& [b, b_weight] : weights) {
        ASSERT_LE(served[a] / a_weight - served[b] / b_weight,
                  1.0 * kMostTokens / a_weight + 1.0 * kMostTokens / b_weight)
            << a << " against " << b << " after " << i;
      }
    }
  }
}

TEST(RequestQueue, SharesEvenlyBetweenEqualKeys) {
  for (uint32_t seed = 1; seed <= 10; ++seed) ExpectShares({{"a", 1}, {"b", 1}, {"c", 1}}, seed);
}

TEST(RequestQueue, SharesByWeight) {
  for (uint32_t seed = 1; seed <= 10; ++seed) ExpectShares({{"a", 1}, {"b", 3}, {"c", 7}}, seed);
}

TEST(RequestQueue, SettlesWithWhatWasReallyUsed) {
  // Both are expected to generate 100 tokens; "short" stops after 10 and gets ten times as many.
  Line line;
  std::map<std::string, int> num_served;
  for (int i = 0; i < 2000; ++i) {
    line.Add({.key = "short", .prompt_tokens = 1, .answer_tokens = 100});
    line.Add({.key = "long", .prompt_tokens = 1, .answer_tokens = 100});
  }
  for (int i = 0; i < 1100; ++i) {
    const Sequence* next = line.queue.Front();
    ++num_served[next->fairness_key()];
    line.Finish(next->fairness_key() == "short" ? 9 : 99);
  }
  EXPECT_NEAR(num_served["short"], 1000, 10);
  EXPECT_NEAR(num_served["long"], 100, 10);
}

TEST(RequestQueue, ChargesForMoreThanWasExpectedWhileItRuns) {
  Line line;
  for (int i = 0; i < 3; ++i) {
    line.Add({.key = "a", .prompt_tokens = 10, .answer_tokens = 10});
    line.Add({.key = "b", .prompt_tokens = 12, .answer_tokens = 10});
  }
  Sequence* running = line.Serve();
  ASSERT_EQ(running->fairness_key(), "a");
  ASSERT_EQ(line.Serve()->fairness_key(), "b");
  for (int i = 0; i < 100; ++i) Generate(running);
  line.queue.ChargeGrowth(running);
  EXPECT_EQ(line.Serve()->fairness_key(), "b");
  EXPECT_EQ(line.Serve()->fairness_key(), "b");
  EXPECT_EQ(line.Serve()->fairness_key(), "a");
}

TEST(RequestQueue, ForgetsIdleKeys) {
  Line line;
  Sequence* stays = line.Add({.key = "stays", .priority = 100});
  for (int i = 0; i < 5000; ++i) {
    line.Add({.key = std::to_string(i)});
    line.Finish(1);
    ASSERT_LE(line.queue.num_keys(), FairShares::kMaxIdleKeys + 2);
  }
  EXPECT_EQ(line.Finish(1), stays);
  line.Add({.key = "a"});
  EXPECT_EQ(line.queue.num_keys(), 1u) << "nobody waited: nothing is owed";
}

TEST(RequestQueue, AnAbsentKeyHasNoClaimOnThePast) {
  Line line;
  for (int i = 0; i < 100; ++i) line.Add({.key = "a"});
  for (int i = 0; i < 50; ++i) line.Finish(10);
  for (int i = 0; i < 10; ++i) line.Add({.key = "late"});
  int late = 0;
  for (int i = 0; i < 10; ++i) late += line.Serve()->fairness_key() == "late" ? 1 : 0;
  EXPECT_EQ(late, 5);
}

TEST(RequestQueue, IsFullAtItsBoundsButTakesReturningSequences) {
  Line line({.max_sequences = 2, .max_tokens = 25});
  EXPECT_TRUE(line.queue.HasRoomFor(1000)) << "alone, everything fits";
  Sequence* first = line.Add({.key = "a"});
  EXPECT_TRUE(line.queue.HasRoomFor(15));
  EXPECT_FALSE(line.queue.HasRoomFor(16));
  line.Add({.key = "a"});
  EXPECT_FALSE(line.queue.HasRoomFor(1));
  ASSERT_EQ(line.Serve(), first);
  EXPECT_TRUE(line.queue.HasRoomFor(1));
  line.Add({.key = "a", .prompt_tokens = 1});
  line.queue.Push(first, 1);
  EXPECT_EQ(line.queue.size(), 3u);
  EXPECT_EQ(line.queue.num_tokens(), 21u);
}

TEST(RequestQueue, TheLatestOfTheKeyWithMostMakesRoom) {
  Line line({.max_sequences = 4});
  for (int i = 0; i < 3; ++i) line.Add({.key = "flood"});
  Sequence* latest = line.Add({.key = "flood"});
  const Work work = {.prompt_tokens = 10, .answer_tokens = 10};
  EXPECT_EQ(line.queue.WhoMakesRoom("victim", 1, 0, work), std::vector<Sequence*>{latest});
  EXPECT_TRUE(line.queue.WhoMakesRoom("flood", 1, 0, work).empty()) << "its own key";
  EXPECT_TRUE(line.queue.WhoMakesRoom("victim", 1, 1, work).empty()) << "a better class";
  EXPECT_TRUE(line.queue.WhoMakesRoom("victim", 1, 0, {.prompt_tokens = 80}).empty())
      << "more than flood has";
}

TEST(RequestQueue, SeveralMakeRoomForOneOfManyTokens) {
  Line line({.max_sequences = 100, .max_tokens = 100});
  for (int i = 0; i < 10; ++i) line.Add({.key = "flood"});
  EXPECT_EQ(line.queue.WhoMakesRoom("victim", 1, 0, {.prompt_tokens = 35}).size(), 4u);
}

TEST(RequestQueue, KnowsWhatIsServedBeforeANewcomer) {
  Line line;
  for (int i = 0; i < 10; ++i) line.Add({.key = "flood", .prompt_tokens = 10, .answer_tokens = 5});
  EXPECT_EQ(line.queue.work().tokens(), 150);
  EXPECT_EQ(line.queue.WorkAhead("flood", 1, 0).tokens(), 150);
  EXPECT_EQ(line.queue.WorkAhead("flood", 1, 0).prompt_tokens, 100);
  EXPECT_EQ(line.queue.WorkAhead("victim", 1, 0).tokens(), 0);
  EXPECT_EQ(line.queue.WorkAhead("flood", 1, -1).tokens(), 0);
  EXPECT_EQ(line.queue.WorkAhead("victim", 1, 1).tokens(), 150);
  line.Add({.key = "victim", .prompt_tokens = 10, .answer_tokens = 20});
  EXPECT_EQ(line.queue.WorkAhead("victim", 1, 0).tokens(), 60);
  EXPECT_EQ(line.queue.WorkAhead("victim", 2, 0).tokens(), 45) << "of twice the weight";
}

// Random operations against the plain meaning of the rules.
TEST(RequestQueue, KeepsItsSumsAndItsOrderWhateverHappens) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    Line line({.aging = 50});
    std::mt19937 random(seed);
    std::vector<Sequence*> waiting;
    std::vector<Sequence*> running;
    const auto remove = [](std::vector<Sequence*>* from, Sequence* sequence) {
      ASSERT_EQ(std::erase(*from, sequence), 1u);
    };
    for (TimeUs now = 0; now < 3000; ++now) {
      line.queue.AdvanceTo(now);
      const uint32_t dice = random() % 10;
      if (dice < 4) {
        waiting.push_back(line.Add({.key = std::to_string(random() % 5),
                                    .priority = static_cast<int32_t>(random() % 3),
                                    .prompt_tokens = 1 + static_cast<uint32_t>(random() % 50)}));
      } else if (dice < 7 && !waiting.empty()) {
        Sequence* front = line.queue.Front();
        ASSERT_EQ(front, line.queue.Front());
        for (const Sequence* other : waiting) {  // FIFO within class and key
          const bool same_line = other->fairness_key() == front->fairness_key() &&
                                 other->priority() == front->priority();
          ASSERT_FALSE(same_line && other->arrival() < front->arrival() &&
                       other->num_generated() == front->num_generated());
        }
        line.queue.Take(front);
        remove(&waiting, front);
        running.push_back(front);
      } else if (dice == 7 && !waiting.empty()) {
        Sequence* cancelled = waiting[random() % waiting.size()];
        line.queue.Remove(cancelled);
        line.queue.Leave(cancelled);
        remove(&waiting, cancelled);
      } else if (!running.empty()) {
        Sequence* sequence = running[random() % running.size()];
        remove(&running, sequence);
        Generate(sequence);
        if (dice == 8) {
          line.queue.Leave(sequence);
        } else {
          sequence->Restart();
          line.queue.Push(sequence, 1);
          waiting.push_back(sequence);
        }
      }
      uint64_t num_tokens = 0;
      for (const Sequence* sequence : waiting) num_tokens += sequence->num_tokens();
      ASSERT_EQ(line.queue.num_tokens(), num_tokens);
      ASSERT_EQ(line.queue.size(), waiting.size());
      ASSERT_EQ(line.queue.work().prompt_tokens, static_cast<double>(num_tokens));
    }
    while (Sequence* front = line.Serve()) remove(&waiting, front);
    EXPECT_TRUE(waiting.empty());
  }
}

}  // namespace
}  // namespace baton::scheduler
