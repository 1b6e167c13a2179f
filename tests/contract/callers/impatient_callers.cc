#include "tests/contract/callers/impatient_callers.h"

#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace baton {
namespace {

constexpr int kNumCalls = 16;

grpc::StatusCode CallWithin(const UnaryCall& call, absl::Duration time) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + time));
  return call(&context).error_code();
}

absl::Duration ExpectAnswered(const UnaryCall& call) {
  const absl::Time begin = absl::Now();
  grpc::ClientContext context;
  const grpc::Status status = call(&context);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return absl::Now() - begin;
}

void ExpectEither(grpc::StatusCode code, grpc::StatusCode early) {
  EXPECT_TRUE(code == grpc::StatusCode::OK || code == early) << code;
}

void CancelOneAsItLeaves(const UnaryCall& call) {
  grpc::ClientContext context;
  std::thread canceller([&context] { context.TryCancel(); });
  ExpectEither(call(&context).error_code(), grpc::StatusCode::CANCELLED);
  canceller.join();
}

}  // namespace

void ExpectOutlivesImpatientCallers(const UnaryCall& call) {
  const absl::Duration usual = ExpectAnswered(call);
  EXPECT_EQ(CallWithin(call, -absl::Seconds(1)), grpc::StatusCode::DEADLINE_EXCEEDED);
  grpc::ClientContext cancelled;
  cancelled.TryCancel();
  EXPECT_EQ(call(&cancelled).error_code(), grpc::StatusCode::CANCELLED);
  // Some of these are cut off before they arrive, some while they are answered.
  for (int i = 0; i < kNumCalls; ++i) {
    ExpectEither(CallWithin(call, usual * i / kNumCalls), grpc::StatusCode::DEADLINE_EXCEEDED);
  }
  std::vector<std::thread> callers;
  for (int i = 0; i < kNumCalls; ++i) {
    callers.emplace_back([&call] { CancelOneAsItLeaves(call); });
  }
  for (std::thread& caller : callers) caller.join();
  ExpectAnswered(call);
}

}  // namespace baton
