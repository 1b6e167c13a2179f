// Scheduling.Submit for callers that do not read: their own sequences stand still, nobody else's.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/support/channel_arguments.h"
#include "gtest/gtest.h"

#include "common/rpc/reader_limits.h"
#include "tests/contract/scheduler/scheduler_fixture.h"

namespace baton {
namespace {

constexpr uint32_t kLongAnswer = 3900;

class SubmitSlowReader : public SchedulerFixture {
 protected:
  // One sequence runs at a time.
  static scheduler::SchedulerConfig OnePlace(absl::Duration reader_stall_timeout) {
    scheduler::SchedulerConfig config = MakeConfig();
    config.max_model_len = 4096;
    config.max_num_seqs = 1;
    config.reader_stall_timeout = reader_stall_timeout;
    return config;
  }
  explicit SubmitSlowReader(absl::Duration reader_stall_timeout = kReaderStallTimeout)
      : SchedulerFixture(OnePlace(reader_stall_timeout)) {}

  // Takes at most 4 KiB that nobody has read.
  std::unique_ptr<v1::Scheduling::Stub> SmallStub() const {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 4096);
    return v1::Scheduling::NewStub(
        grpc::CreateCustomChannel(address(), grpc::InsecureChannelCredentials(), arguments));
  }
  // It has begun, and no step has it any more; its blocks are its own yet.
  bool WaitForSuspended() {
    return WaitForState([](const v1::GroupState& state) {
      return state.num_running() == 0 && state.num_waiting() == 0 && state.num_used_blocks() > 0;
    });
  }
  bool WaitForNoBlocks() {
    return WaitForState([](const v1::GroupState& state) { return state.num_used_blocks() == 0; });
  }
  void ExpectStagesIdle() {
    for (const auto& stage : stages_) {
      EXPECT_TRUE(stage->WaitForIdle(kPatience));
      EXPECT_TRUE(stage->violations().empty()) << stage->violations().front();
    }
  }
};

TEST_F(SubmitSlowReader, StandsStillAloneAndLosesNothing) {
  CompleteGroup();
  const auto stub = SmallStub();
  grpc::ClientContext context;
  const v1::SubmitRequest request = MakeRequest(100, kLongAnswer);
  const auto reader = stub->Submit(&context, request);
  ASSERT_TRUE(WaitForSuspended());
  // The one place is free.
  const v1::SubmitRequest other = MakeRequest(10, 20);
  const SubmitOutcome outcome = Submit(other);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(outcome.tokens, Expected(other));
  ASSERT_TRUE(WaitForSuspended());

  const SubmitOutcome late = ReadAll(reader.get(), context);
  ASSERT_TRUE(late.status.ok()) << late.status;
  EXPECT_TRUE(late.tokens == Expected(request)) << "tokens were lost or changed";
  const int most = std::max_element(late.responses.begin(), late.responses.end(),
                                    [](const auto& a, const auto& b) {
                                      return a.tokens_size() < b.tokens_size();
                                    })
                       ->tokens_size();
  EXPECT_EQ(most, kMaxMessageTokens) << "what waited comes in messages that do not take long";
  for (size_t i = 0; i < late.responses.size(); ++i) {
    EXPECT_EQ(late.responses[i].sequence_number(), i);
    const bool is_last = i + 1 == late.responses.size();
    EXPECT_EQ(late.responses[i].finish_reason() != v1::FINISH_REASON_UNSPECIFIED, is_last);
  }
  ExpectStagesIdle();
}

TEST_F(SubmitSlowReader, MayCancel) {
  CompleteGroup();
  const auto stub = SmallStub();
  grpc::ClientContext context;
  const auto reader = stub->Submit(&context, MakeRequest(100, kLongAnswer));
  ASSERT_TRUE(WaitForSuspended());
  context.TryCancel();
  EXPECT_TRUE(WaitForNoBlocks());
  ExpectStagesIdle();
  EXPECT_TRUE(absl::IsCancelled(ReadAll(reader.get(), context).status));
}

TEST_F(SubmitSlowReader, GoesOnWithTheSameTokensWhenAStageDies) {
  CompleteGroup();
  const auto stub = SmallStub();
  grpc::ClientContext context;
  const v1::SubmitRequest request = MakeRequest(100, kLongAnswer);
  const auto reader = stub->Submit(&context, request);
  ASSERT_TRUE(WaitForSuspended());
  stages_[0]->Kill();
  ASSERT_TRUE(WaitForReady(false));
  stages_[0] = StartStage(0);
  ASSERT_TRUE(WaitForReady(true));
  const SubmitOutcome late = ReadAll(reader.get(), context);
  ASSERT_TRUE(late.status.ok()) << late.status;
  EXPECT_TRUE(late.tokens == Expected(request)) << "tokens were lost or changed";
  ExpectStagesIdle();
}

class SubmitStalledReader : public SubmitSlowReader {
 protected:
  SubmitStalledReader() : SubmitSlowReader(absl::Milliseconds(200)) {}
};

TEST_F(SubmitStalledReader, LosesItsSequenceAndHearsWhy) {
  CompleteGroup();
  const auto stub = SmallStub();
  grpc::ClientContext context;
  const v1::SubmitRequest request = MakeRequest(100, kLongAnswer);
  const auto reader = stub->Submit(&context, request);
  v1::SubmitResponse first;
  ASSERT_TRUE(reader->Read(&first));
  ASSERT_TRUE(WaitForNoBlocks());
  ExpectStagesIdle();
  const SubmitOutcome rest = ReadAll(reader.get(), context);
  EXPECT_TRUE(absl::IsResourceExhausted(rest.status)) << rest.status;
  EXPECT_NE(rest.status.message().find("200ms"), std::string::npos) << rest.status;
  EXPECT_FALSE(rest.retry_after_ms.has_value()) << "it is not for want of room";
  const std::vector<uint32_t> all = Expected(request);
  const size_t num_tokens = static_cast<size_t>(first.tokens_size()) + rest.tokens.size();
  ASSERT_LT(num_tokens, all.size());
  EXPECT_TRUE(std::equal(rest.tokens.begin(), rest.tokens.end(), all.begin() + first.tokens_size()))
      << "what was sent before is right";
}

}  // namespace
}  // namespace baton
