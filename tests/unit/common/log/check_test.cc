#include "common/log/check.h"

#include "absl/status/status.h"
#include "gtest/gtest.h"

namespace baton {
namespace {

TEST(CheckDeathTest, NamesConditionAndValues) {
  const int block = 9;
  EXPECT_DEATH(BATON_CHECK(block < 8) << "block " << block << " of 8",
               "check_test.cc:[0-9]+\\] broken invariant: block < 8 block 9 of 8");
}

TEST(CheckDeathTest, NamesTheStatus) {
  EXPECT_DEATH(BATON_CHECK_OK(absl::DataLossError("chunk 4")), "DATA_LOSS: chunk 4");
}

TEST(Check, EvaluatesOnceAndGoesOnWhenItHolds) {
  int evaluations = 0;
  BATON_CHECK(++evaluations == 1) << "not reached";
  BATON_CHECK_OK((++evaluations, absl::OkStatus()));
  EXPECT_EQ(evaluations, 2);
}

}  // namespace
}  // namespace baton
