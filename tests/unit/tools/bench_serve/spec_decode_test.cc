#include "tools/bench_serve/spec_decode.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::bench {
namespace {

using testing::ElementsAre;
using testing::Pair;

std::string Metrics(int drafts, int tokens, int accepted, int first, int second) {
  return absl::StrCat(
      "# HELP vllm:spec_decode_num_drafts_total runs\n"
      "# TYPE vllm:spec_decode_num_drafts_total counter\n"
      "vllm:spec_decode_num_drafts_total{engine=\"0\",model_name=\"a b\"} ",
      drafts, "\nvllm:spec_decode_num_draft_tokens_total{engine=\"0\"} ", tokens,
      ".0\nvllm:spec_decode_num_accepted_tokens_total{engine=\"0\"} ", accepted,
      "\nvllm:spec_decode_num_accepted_tokens_per_pos_total{engine=\"0\",position=\"0\"} ", first,
      "\nvllm:spec_decode_num_accepted_tokens_per_pos_total{engine=\"0\",position=\"1\"} ", second,
      "\nvllm:spec_decode_num_drafts_created{engine=\"0\"} 1.7e9\nvllm:num_requests_running 3\n");
}

TEST(ReadSpecDecodeCounts, TakesTheCountersOfVllm) {
  const auto counts = ReadSpecDecodeCounts(Metrics(10, 20, 13, 9, 4));
  ASSERT_TRUE(counts.has_value());
  EXPECT_EQ(counts->num_drafts, 10);
  EXPECT_EQ(counts->num_draft_tokens, 20);
  EXPECT_EQ(counts->num_accepted_tokens, 13);
  EXPECT_THAT(counts->accepted_by_position, ElementsAre(Pair(0, 9), Pair(1, 4)));
}

TEST(ReadSpecDecodeCounts, AddsUpEngines) {
  const auto counts = ReadSpecDecodeCounts(
      "vllm:spec_decode_num_drafts_total{engine=\"0\"} 3\r\n"
      "vllm:spec_decode_num_drafts_total{engine=\"1\"} 4\r\n");
  ASSERT_TRUE(counts.has_value());
  EXPECT_EQ(counts->num_drafts, 7);
}

TEST(ReadSpecDecodeCounts, FindsNothingWhereNothingIs) {
  EXPECT_FALSE(ReadSpecDecodeCounts("").has_value());
  EXPECT_FALSE(ReadSpecDecodeCounts("vllm:num_requests_running 3\n").has_value());
  EXPECT_FALSE(ReadSpecDecodeCounts("# HELP vllm:spec_decode_num_drafts_total runs\n").has_value());
  EXPECT_FALSE(ReadSpecDecodeCounts("vllm:spec_decode_num_drafts_total many\n").has_value());
}

// Reads of a server that counts so many drafts, one after the other; the last again and again.
std::optional<SpecDecodeCounts> SettledOf(std::vector<int64_t> drafts, size_t* num_pauses) {
  size_t next = 0;
  return ReadSettledCounts(
      [&] {
        const size_t i = std::min(next++, drafts.size() - 1);
        return std::optional<SpecDecodeCounts>({.num_drafts = drafts[i]});
      },
      [num_pauses] { ++*num_pauses; });
}

TEST(ReadSettledCounts, WaitsUntilTheCountersRest) {
  size_t num_pauses = 0;
  EXPECT_EQ(SettledOf({3, 7, 8, 8}, &num_pauses)->num_drafts, 8);
  EXPECT_EQ(num_pauses, 3);
  num_pauses = 0;
  EXPECT_EQ(SettledOf({5}, &num_pauses)->num_drafts, 5);
  EXPECT_EQ(num_pauses, 1);
}

TEST(ReadSettledCounts, GivesUpOnAServerThatGoesOnCounting) {
  std::vector<int64_t> drafts(1000);
  std::iota(drafts.begin(), drafts.end(), 0);
  size_t num_pauses = 0;
  const auto counts = SettledOf(drafts, &num_pauses);
  EXPECT_EQ(counts->num_drafts, static_cast<int64_t>(num_pauses));  // its last word
  EXPECT_LE(num_pauses, 10);
}

TEST(ReadSettledCounts, DoesNotWaitWhereNothingIsCounted) {
  int num_reads = 0;
  const auto counts = ReadSettledCounts(
      [&num_reads] {
        ++num_reads;
        return std::optional<SpecDecodeCounts>();
      },
      [] { FAIL() << "waits"; });
  EXPECT_FALSE(counts.has_value());
  EXPECT_EQ(num_reads, 1);
}

TEST(SpecDecodeBetween, IsOfWhatWasCountedInBetween) {
  const auto figures = SpecDecodeBetween(ReadSpecDecodeCounts(Metrics(10, 20, 13, 9, 4)),
                                         ReadSpecDecodeCounts(Metrics(14, 28, 18, 12, 6)));
  ASSERT_TRUE(figures.has_value());
  EXPECT_EQ(figures->num_drafts, 4);
  EXPECT_EQ(figures->num_draft_tokens, 8);
  EXPECT_EQ(figures->num_accepted_tokens, 5);
  EXPECT_DOUBLE_EQ(figures->acceptance_rate, 62.5);
  EXPECT_DOUBLE_EQ(figures->acceptance_length, 2.25);
  EXPECT_THAT(figures->rate_by_position, ElementsAre(0.75, 0.5));
}

TEST(SpecDecodeBetween, IsNothingWithoutDrafts) {
  const auto counts = ReadSpecDecodeCounts(Metrics(10, 20, 13, 9, 4));
  EXPECT_FALSE(SpecDecodeBetween(counts, counts).has_value());
  EXPECT_FALSE(SpecDecodeBetween(std::nullopt, counts).has_value());
  EXPECT_FALSE(SpecDecodeBetween(counts, std::nullopt).has_value());
}

}  // namespace
}  // namespace baton::bench
