#include "kernels/cuda/plan/draw_threads.h"

#include <vector>

#include "gtest/gtest.h"

#include "tests/unit/kernels/cuda/walked_launches.h"

namespace baton::kernels::cuda {
namespace {

constexpr int32_t kVocabularies[] = {1, 31, 32, 33, 1023, 1024, 1025, 2048, 16160, 129280};

TEST(DrawThreads, LaunchesOfEveryStepFitTheDevice) {
  for (const int64_t rows : kStepTokens) {
    ExpectFits("draws", DrawRowsLaunch(rows));
    EXPECT_EQ(DrawRowsLaunch(rows).grid_x, rows);
  }
  EXPECT_TRUE(DrawRowsLaunch(0).empty());
}

TEST(DrawThreads, LookAtEveryTokenOnce) {
  for (const int32_t vocabulary : kVocabularies) {
    Visits alone(vocabulary);
    Visits together(vocabulary);
    for (int thread = 0; thread < kDrawThreads; ++thread) {
      for (const int32_t id : TokensOfThread(thread, vocabulary)) alone.Add(id);
      for (const int32_t begin : TokenRounds(vocabulary)) {
        if (begin + thread < vocabulary) together.Add(begin + thread);
      }
    }
    alone.ExpectOnceEach("tokens");
    together.ExpectOnceEach("tokens of rounds");
  }
}

TEST(DrawThreads, TakeEveryEntryOfALinesListOnce) {
  for (const int32_t begin : {0, 5, 100000}) {
    for (const int32_t size : {0, 1, 1023, 1024, 1025, 5000}) {
      Visits entries(size);
      for (int thread = 0; thread < kDrawThreads; ++thread) {
        for (const int32_t i : EntriesOfThread(thread, begin, begin + size)) entries.Add(i - begin);
      }
      entries.ExpectOnceEach("entries");
    }
  }
}

TEST(DrawThreads, MarkEveryTokenWithABitOfItsOwn) {
  for (const int32_t vocabulary : kVocabularies) {
    std::vector<uint32_t> words(static_cast<size_t>(MarkWords(vocabulary)));
    for (int32_t id = 0; id < vocabulary; ++id) {
      const TokenMark mark = MarkOf(static_cast<uint32_t>(id));
      uint32_t& word = words.at(static_cast<size_t>(mark.word));
      EXPECT_EQ(word & mark.bit, 0u) << id;
      word |= mark.bit;
    }
    for (size_t w = 0; w + 1 < words.size(); ++w) EXPECT_EQ(words[w], 0xffffffffu);
    EXPECT_NE(words.back(), 0u);
  }
}

// Ids near the end of what int32 holds do not run over.
TEST(DrawThreads, HoldTheLargestVocabulary) {
  constexpr int32_t kLargest = 2147483647 - kDrawThreads;
  int32_t last = 0;
  for (const int32_t id :
       EntriesOfThread(kDrawThreads - 1, kLargest - 3 * kDrawThreads, kLargest)) {
    last = id;
  }
  EXPECT_EQ(last, kLargest - 1);
  EXPECT_EQ(MarkWords(kLargest), kLargest / 32 + 1);
}

}  // namespace
}  // namespace baton::kernels::cuda
