#include "tests/contract/callers/impatient_callers.h"

#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"

#include "tests/fakes/cuttable_channel.h"

namespace baton {
namespace {

constexpr int kNumCalls = 16;
// Of a call that should end by itself: one that hangs fails here, by its name.
constexpr absl::Duration kPatience = absl::Seconds(60);

void SetDeadline(absl::Duration time, grpc::ClientContext* context) {
  context->set_deadline(absl::ToChronoTime(absl::Now() + time));
}

grpc::StatusCode CallWithin(const UnaryCall& call, absl::Duration time) {
  grpc::ClientContext context;
  SetDeadline(time, &context);
  return call(&context).error_code();
}

absl::Duration ExpectAnswered(const UnaryCall& call, const char* which) {
  const absl::Time begin = absl::Now();
  grpc::ClientContext context;
  SetDeadline(kPatience, &context);
  const grpc::Status status = call(&context);
  EXPECT_TRUE(status.ok()) << which << ", given " << kPatience << ": code " << status.error_code()
                           << ", " << status.error_message();
  return absl::Now() - begin;
}

void ExpectEither(grpc::StatusCode code, grpc::StatusCode early, const char* which, int index) {
  EXPECT_TRUE(code == grpc::StatusCode::OK || code == early)
      << which << ", number " << index << ": code " << code;
}

void CancelOneAsItLeaves(const UnaryCall& call, int index) {
  grpc::ClientContext context;
  SetDeadline(kPatience, &context);
  std::thread canceller([&context] { context.TryCancel(); });
  ExpectEither(call(&context).error_code(), grpc::StatusCode::CANCELLED,
               "a call that is cancelled as it leaves", index);
  canceller.join();
}

}  // namespace

void ExpectOutlivesImpatientCallers(const UnaryCall& call) {
  const absl::Duration usual = ExpectAnswered(call, "the first call");
  EXPECT_EQ(CallWithin(call, -absl::Seconds(1)), grpc::StatusCode::DEADLINE_EXCEEDED);
  grpc::ClientContext cancelled;
  SetDeadline(kPatience, &cancelled);
  cancelled.TryCancel();
  EXPECT_EQ(call(&cancelled).error_code(), grpc::StatusCode::CANCELLED);
  // Some of these are cut off before they arrive, some while they are answered.
  for (int i = 0; i < kNumCalls; ++i) {
    ExpectEither(CallWithin(call, usual * i / kNumCalls), grpc::StatusCode::DEADLINE_EXCEEDED,
                 "a call whose deadline is on its way", i);
  }
  std::vector<std::thread> callers;
  for (int i = 0; i < kNumCalls; ++i) {
    callers.emplace_back([&call, i] { CancelOneAsItLeaves(call, i); });
  }
  for (std::thread& caller : callers) caller.join();
  ExpectAnswered(call, "the call after all these");
}

void ExpectOutlivesDyingCallers(int port, const UnaryCallOver& call) {
  for (int i = 0; i < kNumCalls; ++i) {
    const auto connection = CuttableChannel::Dial(port);
    ASSERT_NE(connection, nullptr) << "for number " << i;
    grpc::ClientContext context;
    SetDeadline(kPatience, &context);
    std::thread cutter([&connection] { connection->Cut(); });
    ExpectEither(call(connection->channel(), &context).error_code(), grpc::StatusCode::UNAVAILABLE,
                 "a call whose connection breaks as it leaves", i);
    cutter.join();
  }
  const auto connection = CuttableChannel::Dial(port);
  ASSERT_NE(connection, nullptr) << "after all these";
  ExpectAnswered([&](grpc::ClientContext* context) { return call(connection->channel(), context); },
                 "the call after all these");
}

}  // namespace baton
