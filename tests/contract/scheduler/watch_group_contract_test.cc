// Scheduling.WatchGroup: the state now and at every change; deadline; cancel; other version;
// shutdown.
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "common/rpc/peer.h"
#include "common/rpc/status_conversion.h"
#include "tests/contract/scheduler/scheduler_fixture.h"

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
