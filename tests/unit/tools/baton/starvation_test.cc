#include "tools/baton/starvation.h"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace baton {
namespace {

constexpr absl::Duration kElapsed = absl::Seconds(1);

ThreadUse Use(char state, int ran_ms, int waited_ms, uint64_t num_turns) {
  return {state, absl::Milliseconds(ran_ms), absl::Milliseconds(waited_ms), num_turns};
}

TEST(Starvation, OneThreadThatWaitsForHalfOfTheTimeIsEnough) {
  const ThreadUses before{{"1", Use('S', 5, 5, 10)}, {"2", Use('S', 100, 70, 20)}};
  const ThreadUses now{{"1", Use('S', 5, 5, 10)}, {"2", Use('S', 110, 570, 25)}};
  EXPECT_TRUE(LackedProcessor(before, now, kElapsed));
  EXPECT_FALSE(LackedProcessor(before, now, absl::Seconds(2)));
}

TEST(Starvation, OneThatNeverGotItsTurnWaitsThroughout) {
  const ThreadUses before{{"1", Use('R', 5, 5, 10)}};
  EXPECT_TRUE(LackedProcessor(before, before, kElapsed));
  const ThreadUses turned{{"1", Use('R', 500, 5, 11)}};
  EXPECT_FALSE(LackedProcessor(before, turned, kElapsed)) << "it runs";
  const ThreadUses runs_on{{"1", Use('R', 900, 5, 10)}};
  EXPECT_FALSE(LackedProcessor(before, runs_on, kElapsed)) << "in one turn";
}

TEST(Starvation, WhoseThreadsWaitForEachOtherHasAProcessor) {
  const ThreadUses before{{"1", Use('R', 5, 5, 10)}, {"2", Use('R', 100, 70, 20)}};
  const ThreadUses now{{"1", Use('R', 305, 705, 50)}, {"2", Use('R', 400, 770, 60)}};
  EXPECT_FALSE(LackedProcessor(before, now, kElapsed));
}

TEST(Starvation, OfAKernelThatDoesNotCountNothingIsKnown) {
  const ThreadUses uses{{"1", Use('R', 0, 0, 0)}};
  EXPECT_FALSE(LackedProcessor(uses, uses, kElapsed));
}

TEST(Starvation, WhatSleepsHangs) {
  const ThreadUses before{{"1", Use('S', 5, 5, 10)}, {"2", Use('D', 100, 70, 20)}};
  EXPECT_FALSE(LackedProcessor(before, before, kElapsed));
}

TEST(Starvation, WhatIsStoppedHangsWhateverItWaitedBefore) {
  const ThreadUses before{{"1", Use('R', 5, 5, 10)}, {"2", Use('R', 100, 70, 20)}};
  const ThreadUses now{{"1", Use('T', 5, 905, 11)}, {"2", Use('R', 100, 70, 20)}};
  EXPECT_FALSE(LackedProcessor(before, now, kElapsed));
}

TEST(Starvation, OfThreadsThatCameSinceNothingIsKnown) {
  EXPECT_FALSE(LackedProcessor({}, {{"1", Use('R', 5, 900, 10)}}, kElapsed));
  EXPECT_FALSE(LackedProcessor({{"1", Use('R', 5, 900, 10)}}, {}, kElapsed));
}

class TasksOnDisk : public testing::Test {
 protected:
  TasksOnDisk() {
    std::string folder = (std::filesystem::temp_directory_path() / "tasks-XXXXXX").string();
    folder_ = mkdtemp(folder.data());
  }
  ~TasksOnDisk() override { std::filesystem::remove_all(folder_); }
  void Write(const std::string& thread, const std::string& stat, const std::string& schedstat) {
    std::filesystem::create_directory(absl::StrCat(folder_, "/", thread));
    std::ofstream(absl::StrCat(folder_, "/", thread, "/stat")) << stat;
    std::ofstream(absl::StrCat(folder_, "/", thread, "/schedstat")) << schedstat;
  }
  std::string folder_;
};

TEST_F(TasksOnDisk, AreReadWhateverTheNameOfTheThread) {
  Write("17", "17 (a) R (b) S 1 17 17 0", "5000000 70000000 12\n");
  Write("18", "18 (x) R 1 17", "0 0 0\n");
  Write("19", "19 (gone", "1 2 3\n");
  Write("20", "20 (x) R 1", "words\n");
  const ThreadUses uses = ReadThreadUses(folder_);
  ASSERT_EQ(uses.size(), 2u);
  EXPECT_EQ(uses.at("17").state, 'S');
  EXPECT_EQ(uses.at("17").ran, absl::Milliseconds(5));
  EXPECT_EQ(uses.at("17").waited, absl::Milliseconds(70));
  EXPECT_EQ(uses.at("17").num_turns, 12u);
  EXPECT_EQ(uses.at("18").state, 'R');
  EXPECT_TRUE(ReadThreadUses(folder_ + "/none").empty());
}

// The kernel's own words of a child that is stopped.
TEST(Starvation, SeesThatAChildIsStopped) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    while (true) pause();
  }
  kill(child, SIGSTOP);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, WUNTRACED), child);
  ASSERT_TRUE(WIFSTOPPED(status));
  const ThreadUses uses = ReadThreadUses(TasksFolder(child));
  kill(child, SIGKILL);
  waitpid(child, &status, 0);
  ASSERT_EQ(uses.size(), 1u);
  EXPECT_EQ(uses.begin()->second.state, 'T');
  EXPECT_FALSE(LackedProcessor(uses, uses, kElapsed));
}

}  // namespace
}  // namespace baton
