#include "tests/fakes/stage_group.h"

#include <deque>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "common/status/status_macros.h"

namespace baton::fakes {

// Longer than any step takes; sanitizers get as much more of it as of a test's whole time.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr absl::Duration kLongestStep = absl::Seconds(6 * 120);
#else
constexpr absl::Duration kLongestStep = absl::Seconds(120);
#endif

// Results of one stage, in order.
class StageGroup::Results final : public stage::StepObserver {
 public:
  void OnStepDone(stage::StepResult result) override {
    absl::MutexLock lock(&mutex_);
    results_.push_back(std::move(result));
  }
  void OnEpochBroken(uint64_t epoch, uint64_t step_id, absl::Status status) override {
    absl::MutexLock lock(&mutex_);
    broken_ = std::move(status);
  }
  absl::StatusOr<stage::StepResult> Take() {
    absl::MutexLock lock(&mutex_);
    const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return !results_.empty() || !broken_.ok();
    };
    if (!mutex_.AwaitWithDeadline(absl::Condition(&ready), absl::Now() + kLongestStep)) {
      return absl::DeadlineExceededError(
          absl::StrCat("no result of a step within ", absl::FormatDuration(kLongestStep)));
    }
    if (results_.empty()) return broken_;
    stage::StepResult result = std::move(results_.front());
    results_.pop_front();
    return result;
  }
  bool Wait(absl::Duration limit) {
    absl::MutexLock lock(&mutex_);
    const auto some = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !results_.empty(); };
    return mutex_.AwaitWithTimeout(absl::Condition(&some), limit);
  }
  void Clear() {
    absl::MutexLock lock(&mutex_);
    results_.clear();
    broken_ = absl::OkStatus();
  }

 private:
  absl::Mutex mutex_;
  std::deque<stage::StepResult> results_ ABSL_GUARDED_BY(mutex_);
  absl::Status broken_ ABSL_GUARDED_BY(mutex_);
};

StageGroup::StageGroup(const StageGroupOptions& options) : options_(options) {}

absl::StatusOr<std::unique_ptr<StageGroup>> StageGroup::Create(const StageGroupOptions& options) {
  ASSIGN_OR_RETURN(const std::vector<StageShape> shapes,
                   SplitLayers(options.config, options.num_stages));
  std::unique_ptr<StageGroup> group(new StageGroup(options));
  for (const StageShape& shape : shapes) RETURN_IF_ERROR(group->AddStage(shape));
  RETURN_IF_ERROR(group->BeginEpoch());
  return group;
}

StageGroup::~StageGroup() {
  for (auto& pipe : pipes_) pipe->Cancel();
  token_pipe_->Cancel();
  for (Stage& stage : stages_) stage.executor->Stop();
}

absl::Status StageGroup::AddStage(const StageShape& shape) {
  Stage stage;
  stage.results = std::make_unique<Results>();
  ASSIGN_OR_RETURN(kernels::Team team,
                   options_.backend->CreateTeam(options_.num_ranks, options_.num_devices));
  stage::StageExecutorOptions executor_options;
  executor_options.config = options_.config;
  executor_options.stage = shape;
  executor_options.num_ranks = options_.num_ranks;
  executor_options.compute_type = options_.compute_type;
  executor_options.max_model_len = options_.max_model_len;
  executor_options.max_step_tokens = options_.max_step_tokens;
  executor_options.max_step_sequences = options_.max_step_sequences;
  executor_options.max_steps_in_flight = options_.max_steps_in_flight;
  executor_options.num_speculative_tokens = options_.num_speculative_tokens;
  executor_options.expand_prompts = options_.expand_prompts;
  executor_options.constraints = options_.constraints;
  executor_options.tap = options_.tap;
  ASSIGN_OR_RETURN(stage.executor, stage::StageExecutor::Create(executor_options, std::move(team),
                                                                stage.results.get()));
  for (int device = 0; device < stage.executor->num_devices(); ++device) {
    RETURN_IF_ERROR(options_.checkpoint->Fill(stage.executor->weight_store(device)));
  }
  stages_.push_back(std::move(stage));
  return absl::OkStatus();
}

absl::Status StageGroup::BeginEpoch() {
  for (auto& pipe : pipes_) pipe->Cancel();
  token_pipe_->Cancel();
  // Old pipes stay until no step of the old epoch uses them.
  std::vector<std::unique_ptr<HiddenStatePipe>> old = std::move(pipes_);
  pipes_.clear();
  const std::unique_ptr<TokenPipe> old_tokens =
      std::exchange(token_pipe_, std::make_unique<TokenPipe>());
  ++epoch_;
  last_step_id_ = 0;
  for (size_t i = 0; i + 1 < stages_.size(); ++i) {
    pipes_.push_back(std::make_unique<HiddenStatePipe>(
        options_.compute_type, options_.config.hidden_size / options_.num_ranks,
        static_cast<int>(options_.max_steps_in_flight)));
  }
  for (size_t i = 0; i < stages_.size(); ++i) {
    stage::EpochOptions epoch;
    epoch.epoch = epoch_;
    epoch.num_blocks = options_.num_blocks;
    epoch.source = i == 0 ? nullptr : pipes_[i - 1].get();
    epoch.sink = i + 1 == stages_.size() ? nullptr : pipes_[i].get();
    const bool feeds_back = stages_.size() > 1 && options_.num_speculative_tokens == 0;
    if (feeds_back && i == 0) epoch.token_source = token_pipe_.get();
    if (feeds_back && i + 1 == stages_.size()) epoch.token_sink = token_pipe_.get();
    epoch.deadline = absl::Now() + kLongestStep;
    RETURN_IF_ERROR(stages_[i].executor->BeginEpoch(epoch));
    stages_[i].results->Clear();
  }
  return absl::OkStatus();
}

absl::Status StageGroup::Submit(stage::StepWork work) {
  work.epoch = epoch_;
  work.step_id = last_step_id_ + 1;
  for (Stage& stage : stages_) RETURN_IF_ERROR(stage.executor->Submit(work));
  ++last_step_id_;
  return absl::OkStatus();
}

absl::StatusOr<stage::StepResult> StageGroup::TakeResult() {
  stage::StepResult last;
  for (Stage& stage : stages_) {
    ASSIGN_OR_RETURN(last, stage.results->Take());
  }
  return last;
}

absl::StatusOr<stage::StepOutput> StageGroup::Take() {
  ASSIGN_OR_RETURN(stage::StepResult result, TakeResult());
  return std::move(result.output);
}

bool StageGroup::WaitForResult(int index, absl::Duration limit) {
  return stages_[static_cast<size_t>(index)].results->Wait(limit);
}

absl::StatusOr<stage::StepOutput> StageGroup::Run(stage::StepWork work) {
  RETURN_IF_ERROR(Submit(std::move(work)));
  return Take();
}

}  // namespace baton::fakes
