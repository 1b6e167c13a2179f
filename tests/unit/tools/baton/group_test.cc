#include "tools/baton/group.h"

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>
#include <unistd.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace baton {
namespace {

using ::testing::HasSubstr;

// A folder with the four programs, all of them tests/fakes/fake_role.
class GroupOfFakes : public ::testing::Test {
 protected:
  GroupOfFakes() {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    for (const char* role : {"model-loader", "scheduler", "stage-worker", "gateway"})
      std::filesystem::create_symlink(BATON_BINARY_DIR "/tests/fake_role",
                                      folder_ / (std::string("baton-") + role));
    options_.model_dir = "m";
    options_.num_stages = 2;
    options_.state_file = folder_ / "state.json";
  }
  ~GroupOfFakes() override {
    unsetenv("FAKE_ROLE_DIES");
    unsetenv("FAKE_ROLE_FAILS");
    unsetenv("FAKE_ROLE_CRASHES");
    unsetenv("FAKE_ROLE_UNHEARD");
    unsetenv("FAKE_ROLE_LOADS");
  }

  // Runs a group, with `when_ready` called once its state file is there; what it wrote is in log_.
  absl::Status Run(const std::function<void(const nlohmann::json&)>& when_ready) {
    auto group = Group::Create(options_, folder_);
    if (!group.ok()) return group.status();
    std::atomic<bool> ended{false};
    ::testing::internal::CaptureStderr();
    ::testing::internal::CaptureStdout();
    std::thread watcher([&] {
      while (!ended && !std::filesystem::exists(options_.state_file)) std::this_thread::yield();
      if (ended) return;
      std::ifstream file(options_.state_file);
      when_ready(nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false));
    });
    const absl::Status status = (*group)->Run();
    ended = true;
    watcher.join();
    log_ = ::testing::internal::GetCapturedStderr();
    output_ = ::testing::internal::GetCapturedStdout();
    return status;
  }

  static nlohmann::json MemberOf(const nlohmann::json& state, const std::string& role) {
    for (const auto& member : state.at("processes"))
      if (member.at("role") == role) return member;
    return nullptr;
  }

  // Reads the state file again and again until it says so.
  nlohmann::json AwaitStateWhere(const std::function<bool(const nlohmann::json&)>& condition) {
    while (true) {
      std::ifstream file(options_.state_file);
      nlohmann::json state = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
      if (state.is_object() && condition(state)) return state;
      std::this_thread::yield();
    }
  }

  size_t Place(const std::string& text) const {
    EXPECT_THAT(log_, HasSubstr(text));
    return log_.find(text);
  }

  const std::filesystem::path folder_ =
      std::filesystem::path(::testing::TempDir()) / ("group_test" + std::to_string(getpid()));
  ServeOptions options_;
  std::string log_;
  std::string output_;
};

TEST_F(GroupOfFakes, BecomesReadyAndStopsInOrder) {
  const absl::Status status = Run([&](const nlohmann::json& state) {
    EXPECT_EQ(state.at("processes").size(), 5u);
    for (const auto& member : state.at("processes"))
      EXPECT_TRUE(member.at("ports").contains("metrics")) << member;
    EXPECT_THAT(state.at("endpoint").get<std::string>(), HasSubstr("http://127.0.0.1:"));
    kill(getpid(), SIGTERM);
  });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(output_, HasSubstr("ready: http://127.0.0.1:"));
  EXPECT_LT(Place("[gateway] baton-gateway stops: SIGTERM"),
            Place("[scheduler] baton-scheduler stops: SIGTERM"));
  EXPECT_LT(Place("[scheduler] baton-scheduler stops"),
            Place("[stage-worker-0] baton-stage-worker stops"));
  EXPECT_LT(Place("[stage-worker-1] baton-stage-worker stops"),
            Place("[model-loader] baton-model-loader stops"));
}

// Takes five seconds: the time after which a log gets its first line of progress.
TEST_F(GroupOfFakes, SaysHowManyOfTheirWeightsTheStagesHave) {
  setenv("FAKE_ROLE_LOADS", (folder_ / "asked").c_str(), 1);
  EXPECT_TRUE(Run([](const nlohmann::json&) { kill(getpid(), SIGTERM); }).ok());
  EXPECT_THAT(output_, HasSubstr(": loading weights: 25 %"));
}

TEST_F(GroupOfFakes, TellsEachWhereItsPeersAre) {
  int scheduler_port = 0;
  EXPECT_TRUE(Run([&](const nlohmann::json& state) {
                for (const auto& member : state.at("processes"))
                  if (member.at("role") == "scheduler") scheduler_port = member["ports"]["grpc"];
                kill(getpid(), SIGINT);
              }).ok());
  const std::string address = "--scheduler 127.0.0.1:" + std::to_string(scheduler_port);
  EXPECT_GT(Place("[gateway] baton-gateway started with"), 0u);
  EXPECT_THAT(log_, HasSubstr(address));
}

// A life that was killed before it listened says nothing against its ports.
TEST_F(GroupOfFakes, KeepsThePortsOfARoleThatIsKilledWhileItStarts) {
  options_.restart_limits.max_deaths = 100;
  const absl::Status status = Run([&](nlohmann::json state) {
    const nlohmann::json first = MemberOf(state, "stage-worker");
    for (int life = 0; life < 5; ++life) {
      const nlohmann::json before = MemberOf(state, "stage-worker");
      kill(before.at("pid"), SIGKILL);
      state = AwaitStateWhere([&](const nlohmann::json& now) {
        return MemberOf(now, "stage-worker").at("pid") != before.at("pid");
      });
      EXPECT_EQ(MemberOf(state, "stage-worker").at("ports"), first.at("ports")) << "life " << life;
    }
    kill(getpid(), SIGTERM);
  });
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(GroupOfFakes, ReportsAChildThatDiesAndStopsTheRest) {
  options_.restart = false;
  setenv("FAKE_ROLE_DIES", "stage-worker", 1);
  const absl::Status status = Run([](const nlohmann::json& state) {
    kill(MemberOf(state, "stage-worker").at("pid").get<pid_t>(), SIGUSR1);
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("died: exit status 7"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("the last words"));
  Place("[gateway] baton-gateway stops: SIGTERM");
  Place("[model-loader] baton-model-loader stops: SIGTERM");
}

TEST_F(GroupOfFakes, StartsAnyRoleAgainOnThePortsThatItHad) {
  const absl::Status status = Run([&](nlohmann::json state) {
    for (const char* role : {"gateway", "scheduler", "model-loader", "stage-worker"}) {
      const nlohmann::json before = MemberOf(state, role);
      kill(before.at("pid"), SIGKILL);
      state = AwaitStateWhere([&](const nlohmann::json& now) {
        const nlohmann::json member = MemberOf(now, role);
        return member.at("pid") != before.at("pid") && member.at("listens");
      });
      EXPECT_EQ(MemberOf(state, role).at("ports"), before.at("ports")) << role;
    }
    kill(getpid(), SIGTERM);
  });
  EXPECT_TRUE(status.ok()) << status;
  Place("[baton] gateway (pid ");
  Place("died: killed by SIGKILL");
  const std::string line = "[gateway] baton-gateway started with";
  EXPECT_NE(log_.find(line), log_.rfind(line));
}

TEST_F(GroupOfFakes, GivesUpOnARoleThatDiesTooOften) {
  options_.restart_limits.max_deaths = 3;
  setenv("FAKE_ROLE_CRASHES", "scheduler", 1);
  const absl::Status status = Run([](const nlohmann::json&) {});
  EXPECT_THAT(std::string(status.message()), HasSubstr("scheduler (pid "));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("not started again: it died more than 3 times within 1m"));
  size_t starts = 0;
  for (size_t at = 0; (at = log_.find("starting it again", at)) != std::string::npos; ++at)
    ++starts;
  EXPECT_EQ(starts, 3u);
}

// While a process is dead another program may get its port. Before the group is ready, too, that
// is no reason to end it at once.
TEST_F(GroupOfFakes, TriesAgainWhatFindsItsPortTaken) {
  options_.restart_limits.max_deaths = 3;
  setenv("FAKE_ROLE_CRASHES", "scheduler", 1);
  setenv("FAKE_ROLE_UNHEARD", "scheduler", 1);
  const absl::Status status = Run([](const nlohmann::json&) {});
  Place("baton-scheduler cannot listen on 127.0.0.1:");
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("not started again: it died more than 3 times within 1m"));
}

TEST_F(GroupOfFakes, TakesAnotherPortWhereNobodyWasToldOfIt) {
  setenv("FAKE_ROLE_UNHEARD", "stage-worker", 1);
  const absl::Status status = Run([&](const nlohmann::json& state) {
    const nlohmann::json before = MemberOf(state, "stage-worker");
    kill(before.at("pid").get<pid_t>(), SIGKILL);
    AwaitStateWhere([&](const nlohmann::json& now) {
      const nlohmann::json member = MemberOf(now, "stage-worker");
      return member.at("pid") != before.at("pid") && member.at("listens") == true;
    });
    kill(getpid(), SIGTERM);
  });
  EXPECT_TRUE(status.ok()) << status;
  Place("baton-stage-worker cannot listen on 127.0.0.1:");
}

TEST_F(GroupOfFakes, KillsAndStartsAgainWhatHangs) {
  options_.liveness_timeout = absl::Seconds(1);
  const absl::Status status = Run([&](const nlohmann::json& state) {
    const pid_t before = MemberOf(state, "scheduler").at("pid");
    kill(before, SIGSTOP);
    AwaitStateWhere(
        [&](const nlohmann::json& now) { return MemberOf(now, "scheduler").at("pid") != before; });
    kill(getpid(), SIGTERM);
  });
  EXPECT_TRUE(status.ok()) << status;
  Place("has not answered /health/live for 1s; killing it");
}

TEST_F(GroupOfFakes, ReportsAChildThatCannotStart) {
  setenv("FAKE_ROLE_FAILS", "gateway", 1);
  const absl::Status status = Run([](const nlohmann::json&) {});
  EXPECT_THAT(std::string(status.message()), HasSubstr("gateway (pid "));
  EXPECT_THAT(std::string(status.message()), HasSubstr("died: exit status 3"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("the reason of baton-gateway"));
}

TEST_F(GroupOfFakes, NamesAProgramThatIsMissing) {
  std::filesystem::remove(folder_ / "baton-scheduler");
  const absl::Status status = Run([](const nlohmann::json&) {});
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("baton-scheduler"));
}

}  // namespace
}  // namespace baton
