#include "services/scheduler/core/request_queue.h"

#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/core/sequences.h"

namespace baton::scheduler {
namespace {

TEST(RequestQueue, ServesInOrderOfArrival) {
  Sequence first(MakeRequest(1, 1), 0);
  Sequence second(MakeRequest(2, 1), 1);
  RequestQueue queue(4);
  queue.Push(&second);
  queue.Push(&first);
  EXPECT_EQ(queue.Front(), &first);
  queue.Remove(&first);
  EXPECT_EQ(queue.Front(), &second);
}

TEST(RequestQueue, ServesLowPriorityNumbersFirst) {
  SequenceRequest urgent = MakeRequest(2, 1);
  urgent.priority = -5;
  Sequence ordinary(MakeRequest(1, 1), 0);
  Sequence first(urgent, 1);
  RequestQueue queue(4);
  queue.Push(&ordinary);
  queue.Push(&first);
  EXPECT_EQ(queue.Front(), &first);
}

TEST(RequestQueue, IsFullAtItsBoundButTakesReturningSequences) {
  Sequence first(MakeRequest(1, 1), 0);
  Sequence second(MakeRequest(2, 1), 1);
  RequestQueue queue(1);
  EXPECT_FALSE(queue.full());
  queue.Push(&second);
  EXPECT_TRUE(queue.full());
  queue.Push(&first);
  EXPECT_EQ(queue.size(), 2u);
  EXPECT_EQ(queue.Front(), &first);
}

TEST(RequestQueue, HasNoFrontWhenEmpty) { EXPECT_EQ(RequestQueue(1).Front(), nullptr); }

}  // namespace
}  // namespace baton::scheduler
