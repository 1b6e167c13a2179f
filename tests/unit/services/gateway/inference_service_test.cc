// Calls whose clients go while they wait for the text worker, or before the loop has seen them.
#include "services/gateway/inference_service.h"

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"

#include "common/concurrency/steady_time.h"
#include "tests/unit/services/gateway/calls/held_gateway.h"

namespace baton::gateway {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(10);

class LongUnaryTest : public HeldGateway {
 protected:
  explicit LongUnaryTest(const KeyLimits& limits = {}) : HeldGateway(limits) {
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    stub_ = v1::Inference::NewStub(server_->InProcessChannel(grpc::ChannelArguments()));
  }
  ~LongUnaryTest() override {
    while (worker_.RunOne()) continue;
    server_->Shutdown();
    loop_.RunOne(kPatience);  // gRPC is done with the call
  }

  // Runs the loop until nothing is queued, or something is; false if that never comes.
  bool AwaitQueued(bool queued) {
    const absl::Time end = absl::Now() + kPatience;
    while (absl::Now() < end && (text_queue_.num_bytes() > 0) != queued) {
      loop_.RunOne(absl::Milliseconds(10));
    }
    return (text_queue_.num_bytes() > 0) == queued;
  }

  grpc::Status Tokenize(grpc::ClientContext* context) {
    v1::TokenizeRequest request;
    request.set_text(std::string(kBodyBytes, '7'));
    v1::TokenizeResponse response;
    return stub_->Tokenize(context, request, &response);
  }

  InferenceService service_{context_};
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::Inference::Stub> stub_;
};

TEST_F(LongUnaryTest, LeavesTheQueueWhenItsClientGoes) {
  grpc::ClientContext context;
  grpc::Status status;
  std::thread client([&] { status = Tokenize(&context); });
  EXPECT_TRUE(AwaitQueued(true));
  context.TryCancel();
  client.join();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(AwaitQueued(false));
}

TEST_F(LongUnaryTest, LeavesTheQueueAtItsDeadline) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(2)));
  grpc::Status status;
  std::thread client([&] { status = Tokenize(&context); });
  EXPECT_TRUE(AwaitQueued(true));
  EXPECT_TRUE(AwaitQueued(false));
  client.join();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
}

// Calls whose clients go before the loop has come to them.
class LimitedCallTest : public LongUnaryTest {
 protected:
  LimitedCallTest() : LongUnaryTest({.requests_per_minute = 1}) {}

  // Makes `call`, cancels it before the loop has seen it, and lets the loop see both.
  void CancelBeforeItStarts(const std::function<grpc::Status(grpc::ClientContext*)>& call) {
    grpc::ClientContext context;
    grpc::Status status;
    std::thread client([&] { status = call(&context); });
    EXPECT_TRUE(loop_.AwaitHeld(1, kPatience));
    context.TryCancel();
    client.join();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED);
    EXPECT_TRUE(loop_.AwaitHeld(2, kPatience)) << "gRPC tells of the cancellation";
    for (int i = 0; i < 2; ++i) EXPECT_TRUE(loop_.RunOne());
  }

  bool HasARequestLeft() { return rate_limits_.TakeRequest(kCaller, SteadyNow()).ok(); }
  // All that are left of a minute's.
  uint32_t TakeTextRequests() {
    const absl::Time now = SteadyNow();
    uint32_t count = 0;
    while (rate_limits_.TakeTextRequest(kCaller, now).ok()) ++count;
    return count;
  }

 private:
  static inline const ApiCaller kCaller = {.limits = {.requests_per_minute = 1}};
};

TEST_F(LimitedCallTest, ATextThatIsCancelledBeforeItStartsIsNotCounted) {
  CancelBeforeItStarts([this](grpc::ClientContext* context) { return Tokenize(context); });
  EXPECT_EQ(TakeTextRequests(), RateLimits::kTextRequestsPerRequest);
}

TEST_F(LimitedCallTest, AnAnswerThatIsCancelledBeforeItStartsIsNotCounted) {
  CancelBeforeItStarts([this](grpc::ClientContext* context) {
    v1::GenerateRequest request;
    request.set_text(std::string(kBodyBytes, '7'));
    v1::GenerateResponse response;
    return stub_->Generate(context, request, &response);
  });
  EXPECT_TRUE(HasARequestLeft());
  EXPECT_EQ(slots_.num_taken(), 0u);
}

}  // namespace
}  // namespace baton::gateway
