#include "tools/baton/child.h"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <poll.h>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Reads all that a shell command writes, until it closes its output.
std::vector<std::string> LinesOf(Child* child) {
  std::vector<std::string> lines;
  while (child->output_fd() >= 0) {
    pollfd watched{child->output_fd(), POLLIN, 0};
    poll(&watched, 1, 10000);
    child->ReadOutput([&](const std::string& line) { lines.push_back(line); });
  }
  while (child->running()) child->Reap();
  return lines;
}

std::unique_ptr<Child> Shell(const std::string& command) {
  auto child = Child::Start("shell", "/bin/sh", {"-c", command});
  EXPECT_TRUE(child.ok()) << child.status();
  return *std::move(child);
}

TEST(Child, GivesWholeLinesOfBothStreams) {
  const auto child = Shell("printf 'a\\nb'; echo c; echo d >&2; printf e");
  EXPECT_THAT(LinesOf(child.get()), ElementsAre("a", "bc", "d", "e"));
  EXPECT_FALSE(child->failed());
  EXPECT_EQ(child->ending(), "exit status 0");
}

TEST(Child, TellsHowItEnded) {
  const auto failed = Shell("exit 3");
  LinesOf(failed.get());
  EXPECT_TRUE(failed->failed());
  EXPECT_EQ(failed->ending(), "exit status 3");
  const auto killed = Shell("kill -SEGV $$");
  LinesOf(killed.get());
  EXPECT_TRUE(killed->failed());
  EXPECT_EQ(killed->ending(), "killed by SIGSEGV");
}

TEST(Child, IsNicerThanWeAre) {
  const auto niceness = [](int added) {
    auto child = Child::Start("shell", "/bin/sh", {"-c", "nice"}, {}, added);
    EXPECT_TRUE(child.ok()) << child.status();
    return std::stoi(LinesOf(child->get()).at(0));
  };
  const int ours = niceness(0);
  EXPECT_EQ(niceness(3), std::min(ours + 3, 19));
}

TEST(Child, GetsOurEnvironmentAndItsOwnVariables) {
  setenv("CHILD_TEST_A", "ours", 1);
  setenv("CHILD_TEST_AB", "kept", 1);
  auto child = Child::Start("shell", "/bin/sh", {"-c", "echo $CHILD_TEST_A $CHILD_TEST_AB"},
                            {"CHILD_TEST_A=its own"});
  unsetenv("CHILD_TEST_A");
  unsetenv("CHILD_TEST_AB");
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_THAT(LinesOf(child->get()), ElementsAre("its own kept"));
}

TEST(Child, KeepsItsLastLines) {
  const auto child = Shell("for i in $(seq 40); do echo line $i; done");
  LinesOf(child.get());
  EXPECT_EQ(child->last_lines().size(), 12u);
  EXPECT_EQ(child->last_lines().back(), "line 40");
}

TEST(Child, StartsWithNoSignalBlocked) {
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigprocmask(SIG_BLOCK, &blocked, nullptr);
  const auto child = Shell("grep SigBlk /proc/self/status");
  EXPECT_THAT(LinesOf(child.get()), ElementsAre(HasSubstr("0000000000000000")));
}

TEST(Child, IsKilledByItsDestructor) {
  auto child = Shell("echo up; exec sleep 1000");
  const pid_t pid = child->pid();
  child.reset();
  EXPECT_EQ(kill(pid, 0), -1);
}

TEST(Child, NamesAProgramThatIsNotThere) {
  const auto child = Child::Start("gateway", "/nonexistent/baton-gateway", {});
  EXPECT_EQ(child.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(child.status().message()),
              HasSubstr("cannot start gateway: /nonexistent/baton-gateway"));
}

}  // namespace
}  // namespace baton
