// Scheduling.WatchGroup: the state now and at every change; deadline; cancel; peer death; other
// version; shutdown.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "common/rpc/peer.h"
#include "common/rpc/status_conversion.h"
#include "tests/contract/scheduler/scheduler_fixture.h"
#include "tests/fakes/cuttable_channel.h"

namespace baton {
namespace {

class WatchGroupContract : public SchedulerFixture {
 protected:
  WatchGroupContract() {
    context_.set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
    *request_.mutable_peer() = MakePeerInfo("test");
  }

  // Reads until a state fits `wanted`; false if the stream ends first.
  template <typename Predicate>
  bool ReadUntil(Predicate wanted) {
    while (reader_->Read(&state_)) {
      if (wanted(state_)) return true;
    }
    return false;
  }

  grpc::ClientContext context_;
  v1::WatchGroupRequest request_;
  std::unique_ptr<grpc::ClientReader<v1::GroupState>> reader_;
  v1::GroupState state_;
};

TEST_F(WatchGroupContract, TellsTheStateAtOnceAndEveryChange) {
  reader_ = stub_->WatchGroup(&context_, request_);
  ASSERT_TRUE(reader_->Read(&state_));
  EXPECT_FALSE(state_.ready());
  ASSERT_EQ(state_.stages_size(), 2);
  EXPECT_EQ(state_.stages(0).phase(), v1::STAGE_PHASE_ABSENT);
  EXPECT_EQ(state_.max_model_len(), 1024u);
  EXPECT_EQ(state_.model_fingerprint().size(), 64u);
  CompleteGroup();
  ASSERT_TRUE(ReadUntil([](const v1::GroupState& state) { return state.ready(); }));
  EXPECT_EQ(state_.num_total_blocks(), 64u);
  EXPECT_EQ(state_.stages(1).instance(), "fake-stage");
  const uint64_t epoch = state_.epoch();
  stages_[1]->Kill();
  ASSERT_TRUE(ReadUntil([](const v1::GroupState& state) { return !state.ready(); }));
  EXPECT_GT(state_.epoch(), epoch);
  EXPECT_EQ(state_.stages(1).phase(), v1::STAGE_PHASE_ABSENT);
}

TEST_F(WatchGroupContract, CountsWhatRuns) {
  CompleteGroup();
  stages_[1]->HoldReports();
  grpc::ClientContext submit_context;
  auto submitted = stub_->Submit(&submit_context, MakeRequest(100, 3));
  reader_ = stub_->WatchGroup(&context_, request_);
  ASSERT_TRUE(ReadUntil([](const v1::GroupState& state) { return state.num_running() == 1; }));
  EXPECT_EQ(state_.num_used_blocks(), 2u);
  stages_[1]->Release();
  ASSERT_TRUE(ReadUntil([](const v1::GroupState& state) { return state.num_running() == 0; }));
  EXPECT_TRUE(ReadAll(submitted.get(), submit_context).status.ok());
}

TEST_F(WatchGroupContract, RefusesAnotherProtocolVersion) {
  request_.mutable_peer()->mutable_version()->set_major(kProtocolMajor + 1);
  reader_ = stub_->WatchGroup(&context_, request_);
  EXPECT_FALSE(reader_->Read(&state_));
  const absl::Status status = FromGrpcStatus(reader_->Finish());
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  for (const std::string& words : {absl::StrCat("speaks protocol ", kProtocolMajor + 1, "."),
                                   absl::StrCat("speaks ", kProtocolMajor, ".")}) {
    EXPECT_NE(status.message().find(words), std::string::npos) << words << " in " << status;
  }
}

TEST_F(WatchGroupContract, EndsAtTheCallersDeadline) {
  context_.set_deadline(absl::ToChronoTime(absl::Now() + absl::Milliseconds(200)));
  reader_ = stub_->WatchGroup(&context_, request_);
  EXPECT_FALSE(ReadUntil([](const v1::GroupState&) { return false; }));
  EXPECT_TRUE(absl::IsDeadlineExceeded(FromGrpcStatus(reader_->Finish())));
  CompleteGroup();  // whose state is told to the next one
}

TEST_F(WatchGroupContract, EndsWhenItsCallerCancels) {
  reader_ = stub_->WatchGroup(&context_, request_);
  ASSERT_TRUE(reader_->Read(&state_));
  context_.TryCancel();
  EXPECT_FALSE(reader_->Read(&state_));
  EXPECT_TRUE(absl::IsCancelled(FromGrpcStatus(reader_->Finish())));
}

// One stream.
struct Watcher {
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReader<v1::GroupState>> reader;
};

// Null if the scheduler refuses it.
std::unique_ptr<Watcher> Watch(v1::Scheduling::Stub* stub, const v1::WatchGroupRequest& request) {
  auto watcher = std::make_unique<Watcher>();
  watcher->reader = stub->WatchGroup(&watcher->context, request);
  v1::GroupState state;
  return watcher->reader->Read(&state) ? std::move(watcher) : nullptr;
}

// Only so many may watch. A process that dies cancels nothing: its connection ends, and nothing
// else tells that its places are free.
TEST_F(WatchGroupContract, ForgetsWatchersWhoseConnectionBreaks) {
  const auto connection = CuttableChannel::Dial(server_->grpc_port());
  ASSERT_NE(connection, nullptr);
  const auto dying_stub = v1::Scheduling::NewStub(connection->channel());
  std::vector<std::unique_ptr<Watcher>> dying;
  while (auto watcher = Watch(dying_stub.get(), request_)) dying.push_back(std::move(watcher));
  ASSERT_FALSE(dying.empty());
  reader_ = stub_->WatchGroup(&context_, request_);
  EXPECT_FALSE(reader_->Read(&state_));
  ASSERT_TRUE(absl::IsResourceExhausted(FromGrpcStatus(reader_->Finish())));

  connection->Cut();
  for (const auto& watcher : dying) {
    while (watcher->reader->Read(&state_)) continue;
    EXPECT_TRUE(absl::IsUnavailable(FromGrpcStatus(watcher->reader->Finish())));
  }
  // The scheduler sees the end of the connection in its own time.
  const absl::Time last = absl::Now() + kPatience;
  std::vector<std::unique_ptr<Watcher>> others;
  while (others.size() < dying.size() && absl::Now() < last) {
    if (auto watcher = Watch(stub_.get(), request_)) others.push_back(std::move(watcher));
  }
  EXPECT_EQ(others.size(), dying.size());
  for (const auto& watcher : others) watcher->context.TryCancel();
}

TEST_F(WatchGroupContract, SaysNotReadyAndEndsWhenTheSchedulerStops) {
  CompleteGroup();
  reader_ = stub_->WatchGroup(&context_, request_);
  ASSERT_TRUE(ReadUntil([](const v1::GroupState& state) { return state.ready(); }));
  std::thread stopper([this] { StopScheduler(); });
  EXPECT_TRUE(ReadUntil([](const v1::GroupState& state) { return !state.ready(); }));
  EXPECT_FALSE(ReadUntil([](const v1::GroupState&) { return false; }));
  stopper.join();
  EXPECT_TRUE(absl::IsUnavailable(FromGrpcStatus(reader_->Finish())));
}

}  // namespace
}  // namespace baton
