#include "services/scheduler/core/admitted_order.h"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

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
    Sequence* const sequence = &sequences_.emplace_back(std::move(request), num_made_);
    queue.Push(sequence, 10);
    waiting_.insert(sequence);
    waits_since_.try_emplace(priority, now_);
  }
  void AdvanceTo(TimeUs now) {
    now_ = now;
    queue.AdvanceTo(now);
  }
  SequenceId FrontOf(AdmittedOrder* order) {
    Sequence* const front = order->Front();
    return front == nullptr ? 0 : front->id();
  }
  SequenceId Take(Sequence* front) {
    if (front == nullptr) return 0;
    queue.Take(front);
    waiting_.erase(front);
    running_.push_back(front);
    waits_since_[front->priority()] = now_;
    const bool is_empty =
        std::none_of(waiting_.begin(), waiting_.end(),
                     [&](const Sequence* other) { return other->priority() == front->priority(); });
    if (is_empty) waits_since_.erase(front->priority());
    return front->id();
  }
  // One of those that were taken ends.
  void EndOne(uint32_t index) {
    if (running_.empty()) return;
    const auto ended = running_.begin() + index % running_.size();
    queue.Leave(*ended);
    running_.erase(ended);
  }
  // What an AdmittedOrder that was closed from `closed` on is to say, by a look at all that waits.
  Sequence* Expected(const ClassFilter& admitted, std::optional<int32_t> closed) const {
    if (waiting_.empty()) return nullptr;
    const int32_t best = waits_since_.begin()->first;
    std::pair<TimeUs, int32_t> oldest = {kNever, 0};
    for (const auto& [priority, since] : waits_since_) {
      oldest = std::min(oldest, std::pair(since, priority));
    }
    const int32_t turn = now_ - oldest.first >= kSecond ? oldest.second : best;
    Sequence* const found = ExpectedOf(turn, admitted, closed);
    return found != nullptr || turn == best ? found : ExpectedOf(best, admitted, closed);
  }

  RequestQueue queue{{.aging = kSecond}};

 private:
  Sequence* ExpectedOf(int32_t priority, const ClassFilter& admitted,
                       std::optional<int32_t> closed) const {
    if (closed.has_value() && priority >= *closed) return nullptr;
    using Rank = std::tuple<bool, double, uint64_t, uint64_t>;
    std::optional<std::pair<Rank, Sequence*>> first;
    for (Sequence* sequence : waiting_) {
      const KeyAccount& key = queue.KeyOf(*sequence);
      if (sequence->priority() != priority || !admitted(key, priority)) continue;
      const bool ran_before = sequence->num_generated() > 0;
      const Rank rank = ran_before ? Rank{false, 0, 0, sequence->arrival()}
                                   : Rank{true, key.served, key.activation, sequence->arrival()};
      if (!first.has_value() || rank < first->first) first = {rank, sequence};
    }
    return first.has_value() ? first->second : nullptr;
  }

  TimeUs now_ = 0;
  std::set<Sequence*, ArrivedBefore> waiting_;
  std::vector<Sequence*> running_;
  std::map<int32_t, TimeUs> waits_since_;  // of each class that waits
  std::deque<Sequence> sequences_;
  uint64_t num_made_ = 0;
};

bool All(const KeyAccount&, int32_t) { return true; }

void Fill(std::mt19937* random, const std::vector<Waiting*>& all) {
  const uint32_t num_sequences = (*random)() % 60;
  for (uint32_t i = 0; i < num_sequences; ++i) {
    const std::string key(1, static_cast<char>('a' + (*random)() % 7));
    const auto priority = static_cast<int32_t>((*random)() % 3);
    const uint32_t prompt_tokens = 1 + (*random)() % 50;
    const bool ran_before = (*random)() % 4 == 0;
    for (Waiting* waiting : all) waiting->Add(key, priority, prompt_tokens, ran_before);
  }
}

TEST(AdmittedOrder, IsTheOrderOfServiceIfAllAreAdmitted) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    Waiting one_by_one;
    Waiting in_order;
    TimeUs now = 0;
    for (int step = 0; step < 5; ++step) {
      Fill(&random, {&one_by_one, &in_order});
      now += (random() % 2) * kSecond;
      one_by_one.AdvanceTo(now);
      in_order.AdvanceTo(now);
      AdmittedOrder order(in_order.queue, All);
      for (size_t i = random() % 40; i > 0; --i) {
        ASSERT_EQ(in_order.Take(order.Front()), one_by_one.Take(one_by_one.queue.Front()));
      }
    }
  }
}

// Keys are dropped, classes closed and sequences taken in between, as they come.
TEST(AdmittedOrder, IsWhatALookAtAllOfThemFinds) {
  std::mt19937 random(11);
  uint32_t num_fallbacks = 0;
  for (int round = 0; round < 400; ++round) {
    Waiting waiting;
    TimeUs now = 0;
    for (int step = 0; step < 6; ++step) {
      Fill(&random, {&waiting});
      now += (random() % 5) * kSecond / 3;
      waiting.AdvanceTo(now);
      std::set<std::pair<std::string, int32_t>> dropped;
      const ClassFilter admitted = [&dropped](const KeyAccount& key, int32_t priority) {
        return !dropped.contains({key.name, priority});
      };
      AdmittedOrder order(waiting.queue, admitted);
      std::optional<int32_t> closed;
      for (size_t i = random() % 50; i > 0; --i) {
        Sequence* const front = order.Front();
        ASSERT_EQ(front, waiting.Expected(admitted, closed)) << "round " << round;
        num_fallbacks += front == nullptr && !waiting.queue.empty() ? 1 : 0;
        const uint32_t dice = random() % 16;
        if (dice < 4) {
          dropped.insert({std::string(1, static_cast<char>('a' + random() % 7)),
                          static_cast<int32_t>(random() % 3)});
        } else if (dice < 6 && front != nullptr) {
          dropped.insert({waiting.queue.KeyOf(*front).name, front->priority()});
        } else if (dice == 6) {
          const auto from = static_cast<int32_t>(random() % 3);
          closed = std::min(from, closed.value_or(from));
          order.CloseFrom(*closed);
        } else {
          waiting.Take(front);
        }
      }
      for (size_t i = random() % 20; i > 0; --i) waiting.EndOne(random());
    }
  }
  EXPECT_GT(num_fallbacks, 100u) << "somebody waits, but nobody is admitted";
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
  waiting.AdvanceTo(2 * kSecond);
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
