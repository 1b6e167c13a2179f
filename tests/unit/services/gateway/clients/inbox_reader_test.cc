// Streams that stop reading, and how their calls end all the same.
#include "services/gateway/clients/inbox_reader.h"

#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"

#include "protos/baton/v1/scheduling.grpc.pb.h"
#include "tests/fakes/held_executor.h"

namespace baton::gateway {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(30);
using Reader = InboxReader<v1::GroupState>;

// Writes states 1 to `count`, then returns, or waits for the end of the call if `stays` is set.
class StateSource final : public v1::Scheduling::Service {
 public:
  grpc::Status WatchGroup(grpc::ServerContext* context, const v1::WatchGroupRequest*,
                          grpc::ServerWriter<v1::GroupState>* writer) override {
    for (uint64_t i = 1; i <= count; ++i) {
      v1::GroupState state;
      state.set_epoch(i);
      if (!writer->Write(state)) break;
    }
    if (!written.HasBeenNotified()) written.Notify();
    if (stays) leave.WaitForNotificationWithTimeout(kPatience);
    // News of a cancelled call travels: a write blocks on flow control or fails once it is here.
    while (stays && !cancelled) cancelled = context->IsCancelled() || !writer->Write({});
    if (!returned.HasBeenNotified()) returned.Notify();
    return grpc::Status::OK;
  }

  uint64_t count = 0;
  bool stays = false;
  bool cancelled = false;  // once `returned`
  absl::Notification written;
  absl::Notification leave;
  absl::Notification returned;
};

class InboxReaderTest : public testing::Test {
 protected:
  void Open(uint64_t count, bool stays, absl::Duration deadline = kPatience) {
    source_.count = count;
    source_.stays = stays;
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&source_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    stub_ = v1::Scheduling::NewStub(
        grpc::CreateChannel(absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials()));
    reader_ = std::make_shared<Reader>(
        executor_, completions_, *open_calls_,
        Reader::Listener{[this](std::vector<v1::GroupState>& states) {
                           for (const auto& state : states) epochs_.push_back(state.epoch());
                         },
                         [this](const grpc::Status& status, const grpc::ClientContext&) {
                           ended_ = true;
                           status_ = status;
                         }});
    reader_->context().set_deadline(absl::ToChronoTime(absl::Now() + deadline));
    v1::WatchGroupRequest request;
    reader_->Begin(
        stub_->PrepareAsyncWatchGroup(&reader_->context(), request, completions_.queue()));
  }
  void TearDown() override {
    if (!source_.leave.HasBeenNotified()) source_.leave.Notify();
    open_calls_.reset();  // waits for the end of the call
    reader_.reset();
    while (executor_.RunOne()) continue;
    if (server_ != nullptr) server_->Shutdown();
  }
  void RunUntilEnded() {
    while (!ended_ && executor_.RunOne(kPatience)) continue;
  }

  HeldExecutor executor_;
  StateSource source_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::Scheduling::Stub> stub_;
  CompletionThread completions_;
  std::unique_ptr<OpenCalls> open_calls_ = std::make_unique<OpenCalls>();
  std::shared_ptr<Reader> reader_;
  std::vector<uint64_t> epochs_;
  bool ended_ = false;
  grpc::Status status_;
};

TEST_F(InboxReaderTest, DeliversAllOfAStreamThatEndedWhileTheInboxWasFull) {
  Open(5 * Reader::kCapacity, /*stays=*/false);
  ASSERT_TRUE(source_.returned.WaitForNotificationWithTimeout(kPatience));
  RunUntilEnded();
  EXPECT_TRUE(ended_);
  EXPECT_TRUE(status_.ok()) << status_.error_message();
  ASSERT_EQ(epochs_.size(), 5 * Reader::kCapacity);
  for (size_t i = 0; i < epochs_.size(); ++i) ASSERT_EQ(epochs_[i], i + 1);
}

TEST_F(InboxReaderTest, HearsOfADeadlineThatPassedWhileTheInboxWasFull) {
  constexpr absl::Duration kDeadline = absl::Seconds(2);  // the source has written all before
  Open(5 * Reader::kCapacity, /*stays=*/true, kDeadline);
  const absl::Time passed = absl::Now() + kDeadline;
  ASSERT_TRUE(source_.written.WaitForNotificationWithTimeout(kPatience));
  reader_->SetPaused(true);
  for (absl::Time now; (now = absl::Now()) < passed;) executor_.RunOne(passed - now);
  EXPECT_TRUE(epochs_.empty());
  EXPECT_FALSE(ended_);
  reader_->SetPaused(false);
  RunUntilEnded();
  EXPECT_TRUE(ended_);
  EXPECT_EQ(status_.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
}

// The call's context may be the last to hold the channel.
TEST_F(InboxReaderTest, ACallThatHasEndedIsHeldByItsListenerAlone) {
  Open(1, /*stays=*/false);
  ASSERT_TRUE(source_.returned.WaitForNotificationWithTimeout(kPatience));
  const std::weak_ptr<Reader> reader = reader_;
  RunUntilEnded();
  open_calls_ = std::make_unique<OpenCalls>();  // waits until gRPC is done with the call
  reader_.reset();
  while (executor_.RunOne()) continue;
  EXPECT_TRUE(reader.expired()) << "the completion thread still holds it";
}

TEST_F(InboxReaderTest, ADetachedCallEndsWithoutItsListener) {
  Open(5 * Reader::kCapacity, /*stays=*/false);
  ASSERT_TRUE(source_.returned.WaitForNotificationWithTimeout(kPatience));
  while (epochs_.empty()) ASSERT_TRUE(executor_.RunOne(kPatience));
  const size_t num_heard = epochs_.size();
  const std::weak_ptr<Reader> reader = reader_;
  reader_->Detach();
  reader_.reset();
  open_calls_.reset();  // waits until gRPC is done with the call
  while (executor_.RunOne()) continue;
  EXPECT_TRUE(reader.expired());
  EXPECT_EQ(epochs_.size(), num_heard);
  EXPECT_FALSE(ended_);
}

TEST_F(InboxReaderTest, ADetachedCallIsReadToItsEnd) {
  Open(5 * Reader::kCapacity, /*stays=*/false);
  reader_->SetPaused(true);
  const std::weak_ptr<Reader> reader = reader_;
  reader_->Detach();
  reader_.reset();
  ASSERT_TRUE(source_.returned.WaitForNotificationWithTimeout(kPatience));
  const absl::Time begin = absl::Now();
  while (!reader.expired() && absl::Now() - begin < kPatience)
    executor_.RunOne(absl::Milliseconds(5));
  EXPECT_TRUE(reader.expired()) << "without being cancelled";
}

TEST_F(InboxReaderTest, CancelEndsACallWhoseInboxIsFull) {
  Open(5 * Reader::kCapacity, /*stays=*/true);
  ASSERT_TRUE(source_.written.WaitForNotificationWithTimeout(kPatience));
  reader_->SetPaused(true);
  reader_->Cancel();
  open_calls_.reset();  // returns once gRPC is done with the call
  EXPECT_FALSE(ended_) << "the listener hears no more after Cancel";
  source_.leave.Notify();
  ASSERT_TRUE(source_.returned.WaitForNotificationWithTimeout(kPatience));
  EXPECT_TRUE(source_.cancelled);
}

TEST_F(InboxReaderTest, ClosingTheClientEndsACallThatNobodyReads) {
  Open(5 * Reader::kCapacity, /*stays=*/true);
  ASSERT_TRUE(source_.written.WaitForNotificationWithTimeout(kPatience));
  reader_->SetPaused(true);
  open_calls_.reset();
  source_.leave.Notify();
  ASSERT_TRUE(source_.returned.WaitForNotificationWithTimeout(kPatience));
  EXPECT_TRUE(source_.cancelled);
}

}  // namespace
}  // namespace baton::gateway
