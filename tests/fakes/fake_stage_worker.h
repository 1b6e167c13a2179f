// A stage-worker for tests of schedulers: speaks Attach over a real channel, runs FakeStageState,
// and can be told to break every rule of the protocol.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpcpp/client_context.h"

#include "common/rpc/peer.h"
#include "protos/baton/v1/stage.grpc.pb.h"
#include "tests/fakes/cuttable_channel.h"
#include "tests/fakes/fake_stage_state.h"

namespace baton {

struct FakeStageOptions {
  std::string scheduler_address;
  std::optional<uint32_t> stage_index;
  uint32_t num_ranks = 1;
  uint32_t num_blocks = 64;
  uint32_t vocab_size = 1024;
  uint32_t protocol_major = kProtocolMajor;
  absl::Duration time_to_live = absl::InfiniteDuration();  // then comes the stream's deadline
  bool can_be_cut = false;               // its connection is one that Cut can break
  std::optional<uint32_t> deadly_token;  // it dies of a step that brings a sequence with this token
};

// Threads: one reads and answers, one sends heartbeats.
class FakeStageWorker final {
 public:
  // Dials, registers and goes on as far as the scheduler lets it.
  static std::unique_ptr<FakeStageWorker> Start(FakeStageOptions options);
  // Kills it.
  ~FakeStageWorker();

  // Ends the stream at once: cancels it. Waits for the threads.
  void Kill();
  // Breaks the connection without a word, as the death of its process does; needs can_be_cut. Waits
  // for the threads.
  void Cut();
  // No more heartbeats, answers or reads, but the connection stays open: as SIGSTOP.
  void Freeze();
  // Reports of the steps behind `step_id` wait until Release.
  void HoldReports(uint64_t step_id = 0);
  void Release();
  // The next step's first row is reported as a fault instead of a token.
  void FaultNext(std::string message, bool caused_by_request = false);
  // Likewise, as what others leave no room for.
  void OverloadNext(std::string message);
  // Sends a message of the test's making.
  void Send(v1::WorkerMessage message);

  // The status that the scheduler ended the stream with; nullopt if it has not by the timeout.
  std::optional<absl::Status> WaitForEnd(absl::Duration timeout) const;
  bool WaitForEpoch(uint64_t epoch, absl::Duration timeout) const;
  // True once it knows no sequence and holds no block; false at the timeout.
  bool WaitForIdle(absl::Duration timeout) const;
  bool WaitForStep(uint64_t step_id, absl::Duration timeout) const;
  size_t num_sequences() const;
  uint64_t num_computed_tokens() const;
  // Of the scheduler's; false at the timeout.
  bool WaitForHeartbeats(uint64_t count, absl::Duration timeout) const;
  std::vector<std::string> violations() const;
  std::optional<v1::StagePlan> plan() const;
  // The newest one.
  std::optional<v1::Topology> topology() const;

 private:
  explicit FakeStageWorker(FakeStageOptions options) : options_(std::move(options)) {}

  void Read();
  void Beat();
  void Answer(const v1::SchedulerMessage& message);
  void AnswerStep(const v1::StepCommand& command);
  bool IsDeadly(const v1::StepCommand& command) const;
  void SendLocked(v1::WorkerMessage message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Waits for the threads.
  void Join();

  const FakeStageOptions options_;
  std::unique_ptr<CuttableChannel> cuttable_;  // null unless can_be_cut
  std::unique_ptr<v1::Stage::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::WorkerMessage, v1::SchedulerMessage>> stream_;
  mutable absl::Mutex mutex_;
  uint64_t next_number_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t num_received_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t num_heartbeats_ ABSL_GUARDED_BY(mutex_) = 0;
  bool frozen_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t held_behind_ ABSL_GUARDED_BY(mutex_) = UINT64_MAX;  // a step's id
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::string fault_ ABSL_GUARDED_BY(mutex_);
  bool fault_is_requests_ ABSL_GUARDED_BY(mutex_) = false;
  bool fault_is_overload_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<v1::StagePlan> plan_ ABSL_GUARDED_BY(mutex_);
  std::optional<v1::Topology> topology_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<FakeStageState> state_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
  std::thread reader_;
  std::thread beater_;
};

}  // namespace baton
