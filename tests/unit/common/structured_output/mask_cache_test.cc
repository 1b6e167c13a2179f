#include "common/structured_output/mask_cache.h"

#include <memory>

#include "gtest/gtest.h"

namespace baton::structured {
namespace {

std::shared_ptr<const MaskCache::Entry> EntryOfWords(size_t num_words) {
  auto entry = std::make_shared<MaskCache::Entry>();
  entry->mask.resize(num_words);
  return entry;
}

TEST(MaskCache, DropsWhatWasNotUsedForLongest) {
  const size_t size = EntryOfWords(100)->bytes();
  MaskCache cache(3 * size);
  for (uint64_t i = 0; i < 3; ++i) cache.Put({1, i}, EntryOfWords(100));
  EXPECT_NE(cache.Find({1, 0}), nullptr);
  cache.Put({2, 0}, EntryOfWords(100));
  EXPECT_NE(cache.Find({1, 0}), nullptr);
  EXPECT_EQ(cache.Find({1, 1}), nullptr);
  EXPECT_NE(cache.Find({2, 0}), nullptr);
  EXPECT_EQ(cache.bytes(), 3 * size);
}

TEST(MaskCache, KeepsTheNewestHoweverLarge) {
  MaskCache cache(10);
  cache.Put({1, 1}, EntryOfWords(100));
  EXPECT_NE(cache.Find({1, 1}), nullptr);
  cache.Put({1, 1}, EntryOfWords(50));  // in its place
  EXPECT_EQ(cache.Find({1, 1})->mask.size(), 50u);
  EXPECT_EQ(cache.bytes(), EntryOfWords(50)->bytes());
}

TEST(MaskCache, CountsWhatIsSharedOutsideOfIt) {
  const size_t size = EntryOfWords(100)->bytes();
  MaskCache cache(3 * size);
  for (uint64_t i = 0; i < 3; ++i) cache.Put({1, i}, EntryOfWords(100));
  cache.CountShared(size);
  EXPECT_EQ(cache.Find({1, 0}), nullptr);
  EXPECT_EQ(cache.bytes(), 3 * size);
  cache.Put({1, 3}, EntryOfWords(100));
  EXPECT_EQ(cache.Find({1, 1}), nullptr);
  EXPECT_EQ(cache.bytes(), 3 * size);
  cache.CountShared(0);
  EXPECT_EQ(cache.bytes(), 2 * size);
}

TEST(MaskCache, OwnersDoNotMeet) {
  MaskCache cache(1 << 20);
  const uint64_t one = cache.NewOwner();
  const uint64_t other = cache.NewOwner();
  cache.Put({one, 5}, EntryOfWords(1));
  EXPECT_EQ(cache.Find({other, 5}), nullptr);
}

}  // namespace
}  // namespace baton::structured
