// A real scheduler on a free port, fake stage-workers, and a caller: for the contracts of its RPCs.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grpcpp/client_context.h"
#include "gtest/gtest.h"

#include "protos/baton/v1/scheduling.grpc.pb.h"
#include "services/scheduler/scheduler_server.h"
#include "tests/fakes/fake_stage_worker.h"

namespace baton {

// A stream that its caller has open.
template <typename Response>
struct OpenStream {
  std::unique_ptr<grpc::ClientContext> context = std::make_unique<grpc::ClientContext>();
  std::unique_ptr<grpc::ClientReader<Response>> reader;  // needs the context
};
using OpenSubmit = OpenStream<v1::SubmitResponse>;

// What one Submit brought.
struct SubmitOutcome {
  std::vector<uint32_t> tokens;
  std::vector<v1::SubmitResponse> responses;
  absl::Status status;
  std::optional<std::string> retry_after_ms;
};

class SchedulerFixture : public testing::Test {
 protected:
  static constexpr uint32_t kVocabSize = 512;
  static constexpr absl::Duration kPatience = absl::Seconds(60);

  explicit SchedulerFixture(scheduler::SchedulerConfig config = MakeConfig());
  ~SchedulerFixture() override;

  static scheduler::SchedulerConfig MakeConfig();
  // The drain runs to its end; called again by the destructor without effect.
  void StopScheduler();
  // Another scheduler of the same configuration in its place, without stages.
  void RestartScheduler();

  std::string address() const;
  std::unique_ptr<FakeStageWorker> StartStage(uint32_t index);
  std::unique_ptr<FakeStageWorker> StartStage(FakeStageOptions options);
  // Both stages, and waits for the group to be ready.
  void CompleteGroup();
  bool WaitForReady(bool ready);
  // True once the group is in a state that fits; false after `patience`.
  bool WaitForState(const std::function<bool(const v1::GroupState&)>& fits,
                    absl::Duration patience = kPatience);

  static v1::SubmitRequest MakeRequest(uint32_t prompt_tokens, uint32_t max_tokens);
  static std::vector<uint32_t> Expected(const v1::SubmitRequest& request);
  SubmitOutcome Submit(const v1::SubmitRequest& request);
  SubmitOutcome Submit(const v1::SubmitRequest& request, grpc::ClientContext* context);
  OpenSubmit BeginSubmit(const v1::SubmitRequest& request);
  // Submits a request that gets no token, and reads it to its deadline. Whether the group was seen
  // in a state that fits before. Where others have the processors it may not: then ask again, with
  // a longer `timeout`.
  bool SubmitUntilDeadline(const v1::SubmitRequest& request, absl::Duration timeout,
                           const std::function<bool(const v1::GroupState&)>& fits);

  void StartScheduler();

  const scheduler::SchedulerConfig config_;
  std::unique_ptr<scheduler::SchedulerServer> server_;
  std::thread runner_;
  std::unique_ptr<v1::Scheduling::Stub> stub_;
  std::vector<std::unique_ptr<FakeStageWorker>> stages_;
};

// Reads a Submit to its end.
SubmitOutcome ReadAll(grpc::ClientReader<v1::SubmitResponse>* reader,
                      const grpc::ClientContext& context);
SubmitOutcome ReadAll(const OpenSubmit& submit);

}  // namespace baton
