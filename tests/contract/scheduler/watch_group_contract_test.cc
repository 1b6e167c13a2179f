// Scheduling.WatchGroup: the state now and at every change; deadline; cancel; peer death; other
// version; shutdown.
#include <memory>
#include <optional>
#include <string>
#include <thread>
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

using Watcher = OpenStream<v1::GroupState>;

// Only so many may watch. A client's stream ends without a word of the scheduler, which has to free
// its place by itself.
class WatchGroupPlaces : public WatchGroupContract {
 protected:
  // Nothing if the scheduler refuses it.
  std::optional<Watcher> Watch(v1::Scheduling::Stub* stub,
                               absl::Time deadline = absl::InfiniteFuture()) {
    Watcher watcher;
    watcher.context->set_deadline(absl::ToChronoTime(deadline));
    watcher.reader = stub->WatchGroup(watcher.context.get(), request_);
    if (!watcher.reader->Read(&state_)) return std::nullopt;
    return watcher;
  }
  // As many as the scheduler takes.
  std::vector<Watcher> FillPlaces(v1::Scheduling::Stub* stub) {
    std::vector<Watcher> watchers;
    while (auto watcher = Watch(stub)) watchers.push_back(*std::move(watcher));
    EXPECT_FALSE(watchers.empty());
    reader_ = stub_->WatchGroup(&context_, request_);
    EXPECT_FALSE(reader_->Read(&state_));
    EXPECT_TRUE(absl::IsResourceExhausted(FromGrpcStatus(reader_->Finish())));
    return watchers;
  }
  void ExpectEnd(const Watcher& watcher, absl::StatusCode code) {
    while (watcher.reader->Read(&state_)) continue;
    EXPECT_EQ(FromGrpcStatus(watcher.reader->Finish()).code(), code);
  }
  // The scheduler hears of an end in its own time.
  void ExpectPlacesFree(size_t count) {
    const absl::Time last = absl::Now() + kPatience;
    std::vector<Watcher> watchers;
    while (watchers.size() < count && absl::Now() < last) {
      if (auto watcher = Watch(stub_.get())) watchers.push_back(*std::move(watcher));
    }
    EXPECT_EQ(watchers.size(), count);
  }
};

TEST_F(WatchGroupPlaces, AreFreeAtTheCallersDeadline) {
  std::vector<Watcher> watchers = FillPlaces(stub_.get());
  ASSERT_FALSE(watchers.empty());
  watchers.pop_back();
  // Of one alone: those of all might pass before the places are full.
  std::optional<Watcher> brief;
  for (const absl::Time last = absl::Now() + kPatience; !brief && absl::Now() < last;) {
    brief = Watch(stub_.get(), absl::Now() + absl::Seconds(1));
  }
  ASSERT_TRUE(brief.has_value());
  ExpectEnd(*brief, absl::StatusCode::kDeadlineExceeded);
  ExpectPlacesFree(1);
}

TEST_F(WatchGroupPlaces, AreFreeWhenTheirCallersCancel) {
  const std::vector<Watcher> watchers = FillPlaces(stub_.get());
  for (const Watcher& watcher : watchers) watcher.context->TryCancel();
  for (const Watcher& watcher : watchers) ExpectEnd(watcher, absl::StatusCode::kCancelled);
  ExpectPlacesFree(watchers.size());
}

// A process that dies cancels nothing: its connection ends.
TEST_F(WatchGroupPlaces, AreFreeWhenTheirCallersConnectionBreaks) {
  const auto connection = CuttableChannel::Dial(server_->grpc_port());
  ASSERT_NE(connection, nullptr);
  const auto dying_stub = v1::Scheduling::NewStub(connection->channel());
  const std::vector<Watcher> watchers = FillPlaces(dying_stub.get());
  connection->Cut();
  for (const Watcher& watcher : watchers) ExpectEnd(watcher, absl::StatusCode::kUnavailable);
  ExpectPlacesFree(watchers.size());
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
