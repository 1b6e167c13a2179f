#include "tools/baton/load_progress.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton {
namespace {

constexpr uint64_t kGiB = uint64_t{1} << 30;

std::string Metrics(uint64_t loaded, uint64_t total) {
  return absl::StrCat("# TYPE baton_stage_loaded_bytes gauge\nbaton_stage_loaded_bytes ", loaded,
                      "\nbaton_stage_load_total_bytes ", total, "\n");
}

absl::Time At(int seconds) { return absl::UnixEpoch() + absl::Seconds(seconds); }

TEST(LoadProgress, SaysLittleBeforeBytesMove) {
  LoadProgress progress(2);
  EXPECT_EQ(progress.Describe(), "loading weights");
  progress.Update(0, Metrics(0, 100) + "nonsense\n\n", At(0));
  EXPECT_EQ(progress.Describe(), "loading weights");
}

TEST(LoadProgress, TellsShareRateAndRestOfAllStages) {
  LoadProgress progress(2);
  progress.Update(0, Metrics(1 * kGiB, 4 * kGiB), At(0));
  progress.Update(1, Metrics(1 * kGiB, 16 * kGiB), At(0));
  EXPECT_EQ(progress.Describe(), "loading weights: 10 %, 2 GiB");
  progress.Update(0, Metrics(2 * kGiB, 4 * kGiB), At(2));
  progress.Update(1, Metrics(4 * kGiB, 16 * kGiB), At(2));
  EXPECT_DOUBLE_EQ(progress.fraction(), 0.3);
  EXPECT_EQ(progress.Describe(), "loading weights: 30 %, 6 GiB at 2 GiB/s, 7 s left");
}

TEST(LoadProgress, AStageThatIsDoneBringsNothingForward) {
  LoadProgress progress(2);
  progress.Update(0, Metrics(1 * kGiB, 9 * kGiB), At(0));
  progress.Update(1, Metrics(1 * kGiB, 11 * kGiB), At(0));
  progress.Update(0, Metrics(9 * kGiB, 9 * kGiB), At(2));
  progress.Update(1, Metrics(3 * kGiB, 11 * kGiB), At(2));
  EXPECT_EQ(progress.Describe(), "loading weights: 60 %, 12 GiB at 1 GiB/s, 8 s left");
}

// A stage's bytes are those of all its calls to the model-loader, so nothing falls between them.
TEST(LoadProgress, GrowsFromCallToCall) {
  LoadProgress progress(1);
  double last = 0;
  for (int second = 1; second <= 21; ++second) {
    progress.Update(0, Metrics(static_cast<uint64_t>(second) * kGiB, 21 * kGiB), At(second));
    EXPECT_GT(progress.fraction(), last);
    last = progress.fraction();
    if (second > 1 && second < 21) {
      EXPECT_EQ(progress.Describe(),
                absl::StrCat("loading weights: ", absl::StrFormat("%.0f", last * 100), " %, ",
                             second, " GiB at 1 GiB/s, ", 21 - second, " s left"));
    }
  }
  EXPECT_EQ(progress.Describe(), "loading weights: 100 %, 21 GiB");
}

TEST(LoadProgress, CountsStagesThatHaveNotBegun) {
  LoadProgress progress(4);
  progress.Update(0, Metrics(kGiB, kGiB), At(0));
  EXPECT_DOUBLE_EQ(progress.fraction(), 0.25);
}

// Stages of which none answers: what they are given of the caller's time.
struct SilentStages {
  absl::StatusOr<std::string> operator()(int stage, absl::Duration timeout) {
    asked->push_back(stage);
    *waited += timeout;
    return absl::UnavailableError("no answer");
  }
  std::vector<int>* asked;
  absl::Duration* waited;
};

// Stages 0 to `num_stages` - 1.
std::vector<int> AllStages(int num_stages) {
  std::vector<int> stages(static_cast<size_t>(num_stages));
  std::iota(stages.begin(), stages.end(), 0);
  return stages;
}

TEST(LoadProgress, StagesThatDoNotAnswerTakeAQuarterOfASecondTogether) {
  for (const int num_stages : {1, 2, 5, 8, 64}) {
    LoadProgress progress(num_stages);
    std::vector<int> asked;
    absl::Duration waited;
    progress.Ask(AllStages(num_stages), SilentStages{&asked, &waited}, At(0));
    EXPECT_EQ(asked, AllStages(std::min(num_stages, 5)));
    EXPECT_LE(waited, absl::Milliseconds(250));
    EXPECT_GE(waited, absl::Milliseconds(200));
  }
}

// A busy stage needs some time for an answer.
TEST(LoadProgress, ManyStagesAreAskedInTurnEachWithTimeToAnswer) {
  LoadProgress progress(64);
  std::vector<int> asked;
  for (int second = 0; second < 26; ++second) {
    progress.Ask(
        AllStages(64),
        [&asked](int stage, absl::Duration timeout) -> absl::StatusOr<std::string> {
          EXPECT_GE(timeout, absl::Milliseconds(50));
          asked.push_back(stage);
          return Metrics(kGiB, 2 * kGiB);
        },
        At(second));
  }
  ASSERT_EQ(asked.size(), 130u);
  for (size_t i = 0; i < asked.size(); ++i) EXPECT_EQ(asked[i], static_cast<int>(i % 64));
  EXPECT_EQ(progress.Describe(), "loading weights: 50 %, 64 GiB");
}

TEST(LoadProgress, TheTurnGoesOnWhenStagesComeAndGo) {
  LoadProgress progress(9);
  std::vector<int> asked;
  absl::Duration waited;
  const SilentStages silent{&asked, &waited};
  progress.Ask({0, 1, 2, 4, 6, 7, 8}, silent, At(0));
  progress.Ask({0, 3, 5}, silent, At(1));
  progress.Ask({1, 2, 3, 4, 6, 8}, silent, At(2));
  progress.Ask({0, 1}, silent, At(3));
  EXPECT_THAT(asked, testing::ElementsAre(0, 1, 2, 4, 6, 0, 3, 5, 6, 8, 1, 2, 3, 0, 1));
}

TEST(LoadProgress, TellsOfStagesThatHavePackedFiles) {
  const std::string mapped = "baton_stage_packed_mapped_bytes 5e+08\n";
  LoadProgress progress(2);
  progress.Update(0, Metrics(kGiB, 2 * kGiB) + mapped, At(0));
  progress.Update(1, Metrics(0, 2 * kGiB) + "baton_stage_packed_mapped_bytes 0\n", At(0));
  EXPECT_EQ(progress.Describe(), "loading weights: 25 %, 1 GiB (1 of 2 stages: packed files)");
  progress.Update(0, Metrics(2 * kGiB, 2 * kGiB) + mapped, At(1));
  progress.Update(1, Metrics(kGiB, 2 * kGiB) + mapped, At(1));
  progress.Update(1, Metrics(3 * kGiB / 2, 2 * kGiB) + mapped, At(2));
  EXPECT_EQ(progress.Describe(),
            "loading weights: 88 %, 3.5 GiB at 0.5 GiB/s, 1 s left (2 of 2 stages: packed files)");
}

TEST(LoadProgress, AsksOnceASecond) {
  LoadProgress progress(1);
  std::vector<int> asked;
  absl::Duration waited;
  const SilentStages silent{&asked, &waited};
  progress.Ask({0}, silent, At(5));
  progress.Ask({0}, silent, At(5) + absl::Milliseconds(900));
  EXPECT_EQ(asked.size(), 1u);
  progress.Ask({0}, silent, At(6));
  EXPECT_EQ(asked.size(), 2u);
}

TEST(LoadProgress, ASilentStageKeepsNoOtherFromBeingHeard) {
  LoadProgress progress(2);
  progress.Ask(
      {0, 1},
      [](int stage, absl::Duration) -> absl::StatusOr<std::string> {
        if (stage == 0) return absl::UnavailableError("no answer");
        return Metrics(kGiB, 2 * kGiB);
      },
      At(0));
  EXPECT_EQ(progress.Describe(), "loading weights: 25 %, 1 GiB");
}

TEST(LoadProgress, ALostProcessTakesItsBytesAlong) {
  LoadProgress progress(2);
  progress.Update(0, Metrics(8 * kGiB, 10 * kGiB), At(0));
  progress.Update(1, Metrics(8 * kGiB, 10 * kGiB), At(0));
  progress.Update(1, Metrics(0, 0), At(10));
  EXPECT_EQ(progress.Describe(), "loading weights: 40 %, 8 GiB");
  progress.Update(1, Metrics(1 * kGiB, 10 * kGiB), At(11));
  progress.Update(1, Metrics(3 * kGiB, 10 * kGiB), At(13));
  EXPECT_EQ(progress.Describe(), "loading weights: 55 %, 11 GiB at 1 GiB/s, 9 s left");
}

}  // namespace
}  // namespace baton
