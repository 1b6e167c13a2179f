// What Inference's short calls have in common: keys, impatient callers, a gateway that stops.
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/blocking_counter.h"
#include "absl/time/clock.h"
#include "grpcpp/client_context.h"
#include "gtest/gtest.h"

#include "tests/contract/callers/impatient_callers.h"
#include "tests/contract/gateway/inference_fixture.h"

namespace baton::gateway {
namespace {

struct InferenceCase {
  const char* name;
  std::function<grpc::Status(v1::Inference::Stub&, grpc::ClientContext*)> call;
};

grpc::Status TokenizeText(v1::Inference::Stub& stub, grpc::ClientContext* context, size_t bytes) {
  v1::TokenizeRequest request;
  request.set_text(std::string(bytes, '7'));
  v1::TokenizeResponse response;
  return stub.Tokenize(context, request, &response);
}

grpc::Status DetokenizeIds(v1::Inference::Stub& stub, grpc::ClientContext* context, int count) {
  v1::DetokenizeRequest request;
  for (int i = 0; i < count; ++i) request.add_token_ids(5);
  v1::DetokenizeResponse response;
  return stub.Detokenize(context, request, &response);
}

// Long ones are worked on beside the loop.
const InferenceCase kInferenceCases[] = {
    {"TokenizeShort",
     [](auto& stub, grpc::ClientContext* context) { return TokenizeText(stub, context, 10); }},
    {"TokenizeLong",
     [](auto& stub, grpc::ClientContext* context) { return TokenizeText(stub, context, 100'000); }},
    {"DetokenizeShort",
     [](auto& stub, grpc::ClientContext* context) { return DetokenizeIds(stub, context, 10); }},
    {"DetokenizeLong",
     [](auto& stub, grpc::ClientContext* context) { return DetokenizeIds(stub, context, 50'000); }},
    {"Abort",
     [](auto& stub, grpc::ClientContext* context) {
       v1::AbortRequest request;
       request.add_request_ids("nobody's");
       v1::AbortResponse response;
       return stub.Abort(context, request, &response);
     }},
    {"GetModelInfo", [](auto& stub, grpc::ClientContext* context) {
       v1::GetModelInfoResponse response;
       return stub.GetModelInfo(context, v1::GetModelInfoRequest(), &response);
     }}};

class InferenceUnaryCall : public InferenceContract,
                           public testing::WithParamInterface<InferenceCase> {
 protected:
  grpc::Status Call(grpc::ClientContext* context) { return GetParam().call(*stub_, context); }
};

TEST_P(InferenceUnaryCall, OutlivesImpatientCallers) {
  Start();
  ExpectOutlivesImpatientCallers([this](grpc::ClientContext* context) { return Call(context); });
}

TEST_P(InferenceUnaryCall, OutlivesDyingCallers) {
  Start();
  ExpectOutlivesDyingCallers(grpc_port(), [](const auto& channel, grpc::ClientContext* context) {
    return GetParam().call(*v1::Inference::NewStub(channel), context);
  });
}

TEST_P(InferenceUnaryCall, NeedsAnApiKeyIfOneIsSet) {
  Start([](GatewayConfig& config) { config.api_keys.keys = {"secret"}; });
  grpc::ClientContext stranger;
  EXPECT_EQ(Call(&stranger).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  grpc::ClientContext known;
  known.AddMetadata("authorization", "Bearer secret");
  EXPECT_TRUE(Call(&known).ok());
}

// Whatever becomes of them, they do not wait for a gateway that is gone. Each has been answered
// before, so that it stops while it serves them.
TEST_P(InferenceUnaryCall, EndsWhenTheGatewayStops) {
  Start();
  constexpr int kNumCallers = 4;
  absl::BlockingCounter answered(kNumCallers);
  std::vector<std::thread> callers;
  for (int i = 0; i < kNumCallers; ++i) {
    callers.emplace_back([this, &answered] {
      const auto call = [this] {
        grpc::ClientContext context;
        context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(60)));
        return Call(&context).error_code();
      };
      grpc::StatusCode code = call();
      EXPECT_EQ(code, grpc::StatusCode::OK) << "before the gateway stops";
      answered.DecrementCount();
      while (code == grpc::StatusCode::OK) code = call();
      EXPECT_TRUE(code == grpc::StatusCode::UNAVAILABLE || code == grpc::StatusCode::CANCELLED)
          << code;
    });
  }
  answered.Wait();
  StopGateway();
  for (std::thread& caller : callers) caller.join();
  grpc::ClientContext late;
  EXPECT_EQ(Call(&late).error_code(), grpc::StatusCode::UNAVAILABLE);
}

INSTANTIATE_TEST_SUITE_P(Rpcs, InferenceUnaryCall, testing::ValuesIn(kInferenceCases),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace baton::gateway
