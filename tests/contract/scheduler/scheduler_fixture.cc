#include "tests/contract/scheduler/scheduler_fixture.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"

#include "common/rpc/peer.h"
#include "common/rpc/status_conversion.h"
#include "tests/fakes/fake_tokens.h"

namespace baton {

scheduler::SchedulerConfig SchedulerFixture::MakeConfig() {
  scheduler::SchedulerConfig config;
  config.model = std::string(BATON_SOURCE_DIR) + "/tests/data/tiny-r1";
  config.pipeline_parallel_size = 2;
  config.tensor_parallel_size = 1;
  config.max_model_len = 1024;
  config.listen_address = "127.0.0.1:0";
  config.metrics_address = "";
  // A busy machine must not lose a fake stage by chance.
  config.heartbeat_timeout = absl::Seconds(5);
  return config;
}

SchedulerFixture::SchedulerFixture(scheduler::SchedulerConfig config) : config_(std::move(config)) {
  StartScheduler();
}

void SchedulerFixture::StartScheduler() {
  auto server = scheduler::SchedulerServer::Create(config_);
  EXPECT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
  runner_ = std::thread([this] { EXPECT_TRUE(server_->RunUntilShutdown().ok()); });
  stub_ =
      v1::Scheduling::NewStub(grpc::CreateChannel(address(), grpc::InsecureChannelCredentials()));
}

SchedulerFixture::~SchedulerFixture() {
  stages_.clear();
  StopScheduler();
}

void SchedulerFixture::StopScheduler() {
  if (!runner_.joinable()) return;
  server_->RequestShutdown("the test ends");
  runner_.join();
}

void SchedulerFixture::RestartScheduler() {
  stages_.clear();
  StopScheduler();
  StartScheduler();
}

std::string SchedulerFixture::address() const {
  return absl::StrCat("127.0.0.1:", server_->grpc_port());
}

std::unique_ptr<FakeStageWorker> SchedulerFixture::StartStage(FakeStageOptions options) {
  options.scheduler_address = address();
  options.vocab_size = kVocabSize;
  return FakeStageWorker::Start(std::move(options));
}

std::unique_ptr<FakeStageWorker> SchedulerFixture::StartStage(uint32_t index) {
  FakeStageOptions options;
  options.stage_index = index;
  return StartStage(std::move(options));
}

void SchedulerFixture::CompleteGroup() {
  stages_.push_back(StartStage(0));
  stages_.push_back(StartStage(1));
  ASSERT_TRUE(WaitForReady(true));
}

bool SchedulerFixture::WaitForReady(bool ready) {
  return WaitForState([ready](const v1::GroupState& state) { return state.ready() == ready; });
}

bool SchedulerFixture::WaitForState(const std::function<bool(const v1::GroupState&)>& fits,
                                    absl::Duration patience) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + patience));
  v1::WatchGroupRequest request;
  *request.mutable_peer() = MakePeerInfo("test");
  auto reader = stub_->WatchGroup(&context, request);
  v1::GroupState state;
  while (reader->Read(&state)) {
    if (!fits(state)) continue;
    context.TryCancel();
    return true;
  }
  return false;
}

v1::SubmitRequest SchedulerFixture::MakeRequest(uint32_t prompt_tokens, uint32_t max_tokens) {
  v1::SubmitRequest request;
  *request.mutable_peer() = MakePeerInfo("test");
  request.set_request_id("contract");
  for (uint32_t i = 0; i < prompt_tokens; ++i) request.add_prompt_token_ids(2 + i % 400);
  request.mutable_sampling()->set_top_p(1);
  request.mutable_sampling()->set_repetition_penalty(1);
  request.mutable_sampling()->set_seed(11);
  request.mutable_stop()->set_max_tokens(max_tokens);
  return request;
}

std::vector<uint32_t> SchedulerFixture::Expected(const v1::SubmitRequest& request) {
  const std::vector<uint32_t> prompt(request.prompt_token_ids().begin(),
                                     request.prompt_token_ids().end());
  return FakeContinuation(prompt, request.sampling().seed(), kVocabSize,
                          request.stop().max_tokens());
}

SubmitOutcome SchedulerFixture::Submit(const v1::SubmitRequest& request) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
  return Submit(request, &context);
}

SubmitOutcome SchedulerFixture::Submit(const v1::SubmitRequest& request,
                                       grpc::ClientContext* context) {
  auto reader = stub_->Submit(context, request);
  return ReadAll(reader.get(), *context);
}

OpenSubmit SchedulerFixture::BeginSubmit(const v1::SubmitRequest& request) {
  OpenSubmit submit;
  submit.reader = stub_->Submit(submit.context.get(), request);
  return submit;
}

bool SchedulerFixture::SubmitUntilDeadline(const v1::SubmitRequest& request, absl::Duration timeout,
                                           const std::function<bool(const v1::GroupState&)>& fits) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  const auto reader = stub_->Submit(&context, request);
  const bool seen = WaitForState(fits, timeout);
  const SubmitOutcome outcome = ReadAll(reader.get(), context);
  EXPECT_TRUE(absl::IsDeadlineExceeded(outcome.status)) << outcome.status;
  EXPECT_TRUE(outcome.tokens.empty());
  return seen;
}

SubmitOutcome ReadAll(grpc::ClientReader<v1::SubmitResponse>* reader,
                      const grpc::ClientContext& context) {
  SubmitOutcome outcome;
  v1::SubmitResponse response;
  while (reader->Read(&response)) {
    for (const v1::GeneratedToken& token : response.tokens()) {
      outcome.tokens.push_back(token.token_id());
    }
    outcome.responses.push_back(response);
  }
  outcome.status = FromGrpcStatus(reader->Finish());
  const auto& trailers = context.GetServerTrailingMetadata();
  if (const auto found = trailers.find("retry-after-ms"); found != trailers.end()) {
    outcome.retry_after_ms = std::string(found->second.data(), found->second.size());
  }
  return outcome;
}

SubmitOutcome ReadAll(const OpenSubmit& submit) {
  return ReadAll(submit.reader.get(), *submit.context);
}

}  // namespace baton
