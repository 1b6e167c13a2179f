#include "services/scheduler/core/admitted_order.h"

#include <deque>
#include <optional>
#include <random>
#include <string>
#include <utility>

#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/core/sequences.h"

namespace baton::scheduler {
namespace {

// A queue and the sequences that pass through it.
class Waiting {
 public:
  void Add(const std::string& key, int32_t priority, uint32_t prompt_tokens,
           bool ran_before = false) {
    SequenceRequest request = MakeRequest(++num_made_, prompt_tokens);
    request.fairness_key = key;
    request.priority = priority;
    if (ran_before) request.resumed = {7};
    queue.Push(&sequences_.emplace_back(std::move(request), num_made_), 10);
  }
  SequenceId FrontOf(AdmittedOrder* order) {
    Sequence* const front = order->Front();
    return front == nullptr ? 0 : front->id();
  }
  SequenceId Take(Sequence* front) {
    if (front == nullptr) return 0;
    queue.Take(front);
    return front->id();
  }

  RequestQueue queue{{.aging = kSecond}};

 private:
  std::deque<Sequence> sequences_;
  uint64_t num_made_ = 0;
};

bool All(const KeyAccount&, int32_t) { return true; }

// Fills both alike.
void Fill(std::mt19937* random, Waiting* first, Waiting* second) {
  const uint32_t num_sequences = (*random)() % 60;
  for (uint32_t i = 0; i < num_sequences; ++i) {
    const std::string key(1, static_cast<char>('a' + (*random)() % 7));
    const auto priority = static_cast<int32_t>((*random)() % 3);
    const uint32_t prompt_tokens = 1 + (*random)() % 50;
    const bool ran_before = (*random)() % 4 == 0;
    first->Add(key, priority, prompt_tokens, ran_before);
    second->Add(key, priority, prompt_tokens, ran_before);
  }
}

TEST(AdmittedOrder, IsTheOrderOfServiceIfAllAreAdmitted) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    Waiting one_by_one;
    Waiting in_order;
    for (int step = 0; step < 5; ++step) {
      Fill(&random, &one_by_one, &in_order);
      const TimeUs now = step * (random() % 2) * kSecond;
      one_by_one.queue.AdvanceTo(now);
      in_order.queue.AdvanceTo(now);
      AdmittedOrder order(in_order.queue, All);
      for (size_t i = random() % 40; i > 0; --i) {
        ASSERT_EQ(in_order.Take(order.Front()), one_by_one.Take(one_by_one.queue.Front()));
      }
    }
  }
}

TEST(AdmittedOrder, LeavesOutWhoIsNotAdmitted) {
  Waiting waiting;
  waiting.Add("a", 0, 5);
  waiting.Add("b", 0, 6);
  waiting.Add("c", 1, 7);
  waiting.Add("b", 0, 8, /*ran_before=*/true);
  std::string barred = "b";
  AdmittedOrder order(waiting.queue,
                      [&](const KeyAccount& key, int32_t) { return key.name != barred; });
  EXPECT_EQ(waiting.FrontOf(&order), 1u);
  EXPECT_EQ(waiting.FrontOf(&order), 1u) << "until it is taken";
  barred = "a";
  EXPECT_EQ(waiting.FrontOf(&order), 2u) << "what ran before of b was looked at already";
  barred.clear();
  waiting.Take(order.Front());
  EXPECT_EQ(waiting.FrontOf(&order), 0u) << "the worse class has no turn";
}

TEST(AdmittedOrder, LooksAtTheBestClassIfAnOverdueOneHasNobody) {
  Waiting waiting;
  waiting.Add("a", 5, 5);
  waiting.queue.AdvanceTo(2 * kSecond);
  waiting.Add("b", 0, 6);
  AdmittedOrder all(waiting.queue, All);
  EXPECT_EQ(waiting.FrontOf(&all), 1u);
  AdmittedOrder some(waiting.queue, [](const KeyAccount& key, int32_t) { return key.name == "b"; });
  EXPECT_EQ(waiting.FrontOf(&some), 2u);
  some.CloseFrom(1);
  EXPECT_EQ(waiting.FrontOf(&some), 2u);
  some.CloseFrom(0);
  EXPECT_EQ(waiting.FrontOf(&some), 0u);
}

}  // namespace
}  // namespace baton::scheduler
