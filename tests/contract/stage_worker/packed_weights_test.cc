// A stage-worker that keeps its packed weights, started again: what it asks the loader for then.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/time/time.h"

#include "tests/contract/stage_worker/worker_fixture.h"

namespace baton::stage {
namespace {

class PackedWeights : public WorkerFixture {
 protected:
  PackedWeights() {
    std::string name = testing::TempDir() + "keptXXXXXX";
    folder_ = mkdtemp(name.data());
    options().packed_weights_folder = folder_ + "/weights";
    options().packed_weights_bytes = uint64_t{1} << 30;
    options().num_threads = 2;
    loader().set_checkpoint_fingerprint("one");
  }
  ~PackedWeights() override {
    if (is_running_) Stop();
    std::filesystem::remove_all(folder_);
  }

  void Start() {
    StartWorker();
    is_running_ = true;
  }
  void Stop() {
    is_running_ = false;
    EXPECT_TRUE(StopWorker().ok());
  }
  // The token of the fixture's prompt in epoch `epoch`, and what became of the packed weights.
  uint32_t TokenIn(uint64_t epoch) {
    Register(Plan(0, 1));
    Join(epoch);
    scheduler().Send(PromptStep(epoch, 1));
    return TakeToken(epoch, 1);
  }
  // Waits for the cache's thread, whose work is behind the stage's readiness.
  bool Await(uint64_t PackedCacheCounts::*count, uint64_t value = 1) {
    return WaitUntil([&] { return counts().*count >= value; });
  }
  // Starts a worker that writes its weights, and stops it. Returns its token.
  uint32_t WriteOnce() {
    Start();
    const uint32_t token = TokenIn(1);
    EXPECT_TRUE(Await(&PackedCacheCounts::num_written));
    Stop();
    return token;
  }
  std::vector<std::string> Files() const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ + "/weights")) {
      if (entry.path().filename() != ".lock") found.push_back(entry.path());
    }
    return found;
  }
  std::string OnlyFile() const {
    EXPECT_EQ(Files().size(), 1u);
    return Files().at(0);
  }
  static void DamageEnd(const std::string& path) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(-1000, std::ios::end);
    const char changed = static_cast<char>(file.get() ^ 1);
    file.seekp(-1000, std::ios::end);
    file.put(changed);
  }
  PackedCacheCounts counts() { return membership().snapshot().packed; }

  std::string folder_;
  bool is_running_ = false;
};

TEST_F(PackedWeights, TheNextStartAsksTheLoaderForNothingAndDrawsTheSame) {
  const uint32_t token = WriteOnce();
  EXPECT_EQ(loader().num_loads(), 1);
  Start();
  EXPECT_EQ(TokenIn(1), token);
  EXPECT_EQ(loader().num_loads(), 1);
  EXPECT_EQ(counts().num_adopted, 1u);
  EXPECT_EQ(counts().num_missed, 0u);
  EXPECT_EQ(counts().mapped_bytes, std::filesystem::file_size(OnlyFile()));
  const StageSnapshot snapshot = membership().snapshot();
  EXPECT_EQ(snapshot.loaded_bytes, snapshot.load_total_bytes);
}

TEST_F(PackedWeights, OfAnotherCheckpointAreNotUsedAndGoWhenItIsKept) {
  WriteOnce();
  const std::string first = OnlyFile();
  loader().set_checkpoint_fingerprint("two");
  Start();
  TokenIn(1);
  EXPECT_EQ(loader().num_loads(), 2);
  EXPECT_EQ(counts().num_missed, 1u);
  EXPECT_TRUE(Await(&PackedCacheCounts::num_written));
  Stop();
  EXPECT_NE(OnlyFile(), first);
}

TEST_F(PackedWeights, AreKeptUnderTheCheckpointThatCameWholeWhenTheLoaderIsReplaced) {
  loader().FailNextLoad(40, grpc::Status(grpc::StatusCode::UNAVAILABLE, "the loader died"));
  loader().ReplaceAfterNextLoad("two");
  Start();
  ASSERT_TRUE(scheduler().Next(v1::WorkerMessage::kRegister).ok());
  scheduler().Send(Plan(0, 1));
  ASSERT_TRUE(scheduler().Next(v1::WorkerMessage::kFault).ok());
  const uint32_t token = TokenIn(1);
  EXPECT_EQ(loader().num_loads(), 2);
  EXPECT_TRUE(Await(&PackedCacheCounts::num_written));
  Stop();
  Start();
  EXPECT_EQ(TokenIn(1), token);
  EXPECT_EQ(counts().num_adopted, 1u);
  EXPECT_EQ(loader().num_loads(), 2);
}

TEST_F(PackedWeights, OfOneDeviceOfTwoAreLoadedAlone) {
  options().num_devices = 2;
  Start();
  const uint32_t token = TokenIn(1);
  EXPECT_TRUE(Await(&PackedCacheCounts::num_written, 2));
  Stop();
  ASSERT_EQ(Files().size(), 2u);
  std::filesystem::remove(Files().at(0));
  Start();
  EXPECT_EQ(TokenIn(1), token);
  EXPECT_EQ(counts().num_adopted, 1u);
  EXPECT_EQ(counts().num_missed, 1u);
  const fakes::LoadShare share = loader().shares().at(1);
  EXPECT_GT(share.held_bytes, 0u);
  EXPECT_EQ(share.held_bytes + share.asked_bytes, share.stage_bytes);
  EXPECT_TRUE(Await(&PackedCacheCounts::num_written));
  EXPECT_EQ(Files().size(), 2u);
}

TEST_F(PackedWeights, AShortFileLoadsAndIsWrittenAnew) {
  const uint32_t token = WriteOnce();
  const uint64_t bytes = std::filesystem::file_size(OnlyFile());
  std::filesystem::resize_file(OnlyFile(), bytes / 2);
  Start();
  EXPECT_EQ(TokenIn(1), token);
  EXPECT_EQ(loader().num_loads(), 2);
  EXPECT_EQ(counts().num_damaged, 1u);
  EXPECT_TRUE(Await(&PackedCacheCounts::num_written));
  EXPECT_EQ(std::filesystem::file_size(OnlyFile()), bytes);
}

TEST_F(PackedWeights, ADamagedBlockIsFoundBeforeTheStageIsReady) {
  const uint32_t token = WriteOnce();
  DamageEnd(OnlyFile());
  Start();
  EXPECT_EQ(TokenIn(1), token);
  EXPECT_EQ(loader().num_loads(), 2);
  EXPECT_EQ(counts().num_adopted, 0u);
  EXPECT_EQ(counts().num_damaged, 1u);
  EXPECT_TRUE(Await(&PackedCacheCounts::num_written));
  // Another plan makes the stage anew; the count is the process's.
  scheduler().EndSession(grpc::Status(grpc::StatusCode::UNAVAILABLE, "going down"));
  v1::SchedulerMessage plan = Plan(0, 1);
  plan.mutable_plan()->set_max_step_tokens(32);
  Register(plan);
  EXPECT_EQ(counts().num_damaged, 1u);
  EXPECT_EQ(counts().num_adopted, 1u);
}

TEST_F(PackedWeights, AStageThatComputesNothingKeepsNothing) {
  Start();
  Register(Plan(0, 1));
  Join(1);
  Stop();
  EXPECT_TRUE(Files().empty());
}

TEST_F(PackedWeights, AFolderOfOthersIsNotUsed) {
  std::filesystem::create_directory(folder_ + "/weights");
  std::filesystem::permissions(folder_ + "/weights", std::filesystem::perms::all);
  Start();
  TokenIn(1);
  EXPECT_EQ(counts().num_missed, 1u);
  Stop();
  EXPECT_TRUE(std::filesystem::is_empty(folder_ + "/weights"));  // not even a lock
}

TEST_F(PackedWeights, AnOlderLoaderTellsNoCheckpointsApart) {
  loader().set_checkpoint_fingerprint("");
  Start();
  TokenIn(1);
  Stop();
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/weights"));
}

}  // namespace
}  // namespace baton::stage
