#include "common/status/status_macros.h"

#include <memory>

#include "gtest/gtest.h"

namespace baton {
namespace {

absl::StatusOr<std::unique_ptr<int>> Half(int value) {
  if (value % 2 != 0) return absl::InvalidArgumentError("odd");
  return std::make_unique<int>(value / 2);
}

absl::StatusOr<int> Quarter(int value) {
  ASSIGN_OR_RETURN(const std::unique_ptr<int> half, Half(value));
  ASSIGN_OR_RETURN(const std::unique_ptr<int> quarter, Half(*half));
  return *quarter;
}

absl::Status CheckQuarter(int value) {
  RETURN_IF_ERROR(Quarter(value).status());
  return absl::OkStatus();
}

TEST(StatusMacros, PassValues) { EXPECT_EQ(*Quarter(12), 3); }

TEST(StatusMacros, ReturnTheFirstError) {
  EXPECT_EQ(Quarter(6).status(), absl::InvalidArgumentError("odd"));
  EXPECT_EQ(CheckQuarter(7), absl::InvalidArgumentError("odd"));
  EXPECT_TRUE(CheckQuarter(8).ok());
}

TEST(Annotate, PutsContextFirstAndKeepsTheCode) {
  EXPECT_EQ(Annotate(absl::NotFoundError("x.bin"), "stage 1"),
            absl::NotFoundError("stage 1: x.bin"));
  EXPECT_TRUE(Annotate(absl::OkStatus(), "stage 1").ok());
}

}  // namespace
}  // namespace baton
