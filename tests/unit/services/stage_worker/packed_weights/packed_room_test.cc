#include "services/stage_worker/packed_weights/packed_room.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::stage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

KeptFile Unused(uint64_t bytes) { return {bytes, bytes, true}; }
KeptFile Used(uint64_t bytes) { return {bytes, bytes, false}; }

TEST(ChooseRemovals, TakesNothingWhereThereIsRoom) {
  const std::vector<KeptFile> files = {Unused(100)};
  EXPECT_THAT(*ChooseRemovals(50, files, {.max_bytes = 150, .total_bytes = 900, .free_bytes = 50}),
              IsEmpty());
}

TEST(ChooseRemovals, TakesTheFewestInTheirOrder) {
  const std::vector<KeptFile> files = {Used(100), Unused(100), Unused(100), Unused(100)};
  EXPECT_THAT(*ChooseRemovals(150, files, {.max_bytes = 400, .free_bytes = 150}),
              ElementsAre(1, 2));
  EXPECT_THAT(*ChooseRemovals(50, files, {.max_bytes = 400, .free_bytes = 150}), ElementsAre(1));
  // The disk wants more than the bound does.
  EXPECT_THAT(*ChooseRemovals(50, files, {.max_bytes = 4000, .free_bytes = 0}), ElementsAre(1));
}

TEST(ChooseRemovals, CountsWhatOthersAreWriting) {
  EXPECT_TRUE(
      ChooseRemovals(50, {}, {.max_bytes = 150, .written_bytes = 100, .free_bytes = 50}).ok());
  const auto refused =
      ChooseRemovals(50, {}, {.max_bytes = 149, .written_bytes = 100, .free_bytes = 50});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.status().message()), testing::HasSubstr("100 of at most 149"));
}

TEST(ChooseRemovals, LeavesAFifthOfTheFileSystemFreeWithoutABound) {
  const std::vector<KeptFile> files = {Unused(100), Unused(100)};
  EXPECT_THAT(*ChooseRemovals(100, files, {.total_bytes = 1000, .free_bytes = 300}), IsEmpty());
  EXPECT_THAT(*ChooseRemovals(100, files, {.total_bytes = 1000, .free_bytes = 299}),
              ElementsAre(0));
  EXPECT_THAT(*ChooseRemovals(100, files, {.total_bytes = 1000, .free_bytes = 100}),
              ElementsAre(0, 1));
  EXPECT_EQ(ChooseRemovals(100, files, {.total_bytes = 1000, .free_bytes = 99}).status().code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace baton::stage
