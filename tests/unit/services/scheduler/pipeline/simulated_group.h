// A step engine with simulated stages, callers and clock: everything that may happen between
// processes happens here in an order that a seed decides.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "services/scheduler/pipeline/step_engine.h"
#include "tests/fakes/fake_stage_state.h"

namespace baton::scheduler {

// Listens to nothing; tests override what they want to hear.
class QuietObserver : public StepObserver {
 public:
  void OnStep(uint32_t, uint32_t, absl::Duration) override {}
  void OnStart(absl::Duration) override {}
  void OnTokens(uint64_t) override {}
  void OnRefused(absl::string_view) override {}
  void OnExpired(uint64_t) override {}
  void OnStalledReader() override {}
  void OnStepCost(const StepCost&) override {}
  void OnStageLost(LossCause) override {}
  void OnRecovery(absl::Duration) override {}
  void OnCounts(const ScheduleCounts&, uint64_t, bool) override {}
};

struct SimulatedGroupOptions {
  uint32_t num_stages = 2;
  uint32_t lookahead_steps = 0;
  uint32_t num_blocks = 16;
  uint32_t block_tokens = 8;
  uint32_t max_step_tokens = 32;
  uint32_t max_running = 8;
  uint32_t max_waiting = 1000;
  uint32_t max_model_len = 128;
  bool expands_prompts = false;  // what stages register with
  absl::Duration unready_grace = absl::Seconds(30);
  absl::Duration heartbeat_timeout = absl::Seconds(1);
  uint32_t seed = 1;
  // A stage dies when it is told of this token, and another takes its place.
  std::optional<uint32_t> deadly_token;
  StepObserver* observer = nullptr;  // must outlive the group
};

// What a caller saw of its request.
class SimulatedCaller final : public TokenSink {
 public:
  PushResult Push(v1::SubmitResponse response) override;
  void Finish(const absl::Status& status, absl::Duration retry_after) override;

  v1::SubmitRequest request;
  std::vector<uint32_t> tokens;
  std::vector<v1::PositionLogprobs> prompt_logprobs;
  v1::FinishReason reason = v1::FINISH_REASON_UNSPECIFIED;
  std::optional<uint32_t> stop_token;
  uint32_t num_cached = 0;
  std::optional<absl::Status> status;
  absl::Duration retry_after;
  int num_finishes = 0;
  bool gone = false;  // it takes nothing any more
  MonotonicTime last_taken() const override { return taken_at; }
  MonotonicTime taken_at;
  // Tokens that it may leave unread; with more it is behind, until SimulatedGroup::Read.
  size_t most_unread = SIZE_MAX;
  size_t num_unread = 0;
};

// One stage-worker's end of its stream.
class SimulatedStage final : public StageLink {
 public:
  explicit SimulatedStage(FakeStageState::Options options) : state(options) {}
  bool Send(v1::SchedulerMessage message) override;
  void Close(const absl::Status& status) override;
  void Cut(const absl::Status& status) override { Close(status); }

  FakeStageState state;
  std::deque<v1::SchedulerMessage> inbox;
  std::optional<absl::Status> closed;
  bool alive = true;
  bool frozen = false;
  bool stalled = false;  // beats, but works on nothing
  bool full = false;     // takes no messages
};

class SimulatedGroup final {
 public:
  static constexpr uint32_t kVocabSize = 1024;
  static constexpr TokenId kEos = 1;

  explicit SimulatedGroup(SimulatedGroupOptions options);

  StepEngine& engine() { return *engine_; }
  MonotonicTime now() const { return now_; }
  GroupWatch& watch() { return watch_; }
  std::mt19937& random() { return random_; }

  // A worker for stage `index` registers; it answers when it is stepped.
  std::shared_ptr<SimulatedStage> AddStage(uint32_t index) {
    return AddStage(index, options_.expands_prompts);
  }
  std::shared_ptr<SimulatedStage> AddStage(uint32_t index, bool expands_prompts);
  std::shared_ptr<SimulatedStage> stage(uint32_t index) const { return stages_.at(index); }
  void KillStage(uint32_t index);
  // As many rounds of stage work as it takes for nothing to be left; the clock stands.
  void Settle();
  // One message of one random stage is worked on, if there is one.
  bool StepRandomStage();
  // Takes the stage's oldest message. False if there is none.
  bool StepStage(uint32_t index);
  // The clock moves; stages that are alive send heartbeats.
  void Pass(absl::Duration duration);

  // Requests with equal `text` have prompts that begin alike; by default `seed`.
  static v1::SubmitRequest MakeRequest(uint32_t prompt_tokens, uint32_t max_tokens, uint64_t seed,
                                       std::optional<uint64_t> text = std::nullopt);
  SequenceId Submit(v1::SubmitRequest request, MonotonicTime deadline = MonotonicTime::max());
  void Cancel(SequenceId id);
  // The caller of `id` reads all that there is, and the engine hears of it if it was behind.
  void Read(SequenceId id);
  SimulatedCaller& caller(SequenceId id) { return *callers_.at(id); }
  const std::map<SequenceId, std::shared_ptr<SimulatedCaller>>& callers() const { return callers_; }
  // What the model answers to `request` if nothing goes wrong.
  static std::vector<uint32_t> Expected(const v1::SubmitRequest& request, uint32_t max_len);
  // Empty if no stage saw a broken rule.
  std::vector<std::string> violations() const;

 private:
  bool IsDeadly(const v1::StepCommand& step, const FakeStageState& state) const;
  void Advance() { engine_->Advance(now_); }

  const SimulatedGroupOptions options_;
  std::mt19937 random_;
  MonotonicTime now_{};
  GroupWatch watch_;
  std::unique_ptr<StepEngine> engine_;
  std::map<uint32_t, std::shared_ptr<SimulatedStage>> stages_;
  std::vector<std::shared_ptr<SimulatedStage>> all_stages_;
  std::map<SequenceId, std::shared_ptr<SimulatedCaller>> callers_;
  SequenceId next_id_ = 1;
};

}  // namespace baton::scheduler
