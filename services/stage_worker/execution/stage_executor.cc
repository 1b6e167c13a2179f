#include "services/stage_worker/execution/stage_executor.h"

#include <algorithm>
#include <functional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/concurrency/steady_time.h"
#include "common/log/check.h"
#include "common/log/log.h"
#include "common/model/speculative_config.h"
#include "common/status/status_macros.h"
#include "kernels/api/attention.h"
#include "services/stage_worker/execution/device_loop.h"
#include "services/stage_worker/execution/device_runner.h"
#include "services/stage_worker/execution/queued_step.h"
#include "services/stage_worker/execution/step_end.h"
#include "services/stage_worker/execution/step_vote.h"

namespace baton::stage {
namespace {

absl::Status CheckRange(absl::string_view what, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(what, " is ", value, ", must be in [", low, ", ", high, "]"));
}

absl::Status CheckOptions(const StageExecutorOptions& options, const kernels::Team& team) {
  const ModelConfig& config = options.config;
  RETURN_IF_ERROR(CheckTensorParallelSize(config, options.num_ranks));
  if (config.hidden_size % options.num_ranks != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "hidden_size ", config.hidden_size, " does not divide by ", options.num_ranks, " ranks"));
  }
  if (options.stage.layer_begin < 0 || options.stage.layer_begin >= options.stage.layer_end ||
      options.stage.layer_end > config.num_layers) {
    return absl::InvalidArgumentError(absl::StrCat("layers [", options.stage.layer_begin, ", ",
                                                   options.stage.layer_end, ") of ",
                                                   config.num_layers));
  }
  RETURN_IF_ERROR(CheckRange("max_model_len", options.max_model_len, 1, config.max_positions));
  RETURN_IF_ERROR(CheckRange("max_step_tokens", options.max_step_tokens, 1, 1 << 20));
  RETURN_IF_ERROR(CheckRange("max_step_sequences", options.max_step_sequences, 1, 1 << 20));
  RETURN_IF_ERROR(CheckRange("max_steps_in_flight", options.max_steps_in_flight, 1, 1024));
  RETURN_IF_ERROR(CheckRange("num_speculative_tokens", options.num_speculative_tokens, 0,
                             config.num_mtp_layers > 0 ? kMaxSpeculativeTokens : 0));
  int num_ranks = 0;
  for (const kernels::Team::Device& device : team.devices) num_ranks += device.num_ranks;
  return CheckRange("ranks of the team", num_ranks, options.num_ranks, options.num_ranks);
}

}  // namespace

struct StageExecutor::Impl {
  Impl(const StageExecutorOptions& stage_options, const kernels::Team& team)
      : options(stage_options),
        backend_name(team.name),
        vote(static_cast<int>(team.devices.size())),
        end(static_cast<int>(team.devices.size())),
        draws(static_cast<int>(team.devices.size())),
        waits(stage_options.num_ranks),
        sequences({stage_options.config.vocab_size, stage_options.max_model_len,
                   stage_options.max_step_tokens, stage_options.max_step_sequences,
                   stage_options.stage.has_head, stage_options.num_speculative_tokens,
                   stage_options.expand_prompts}) {}

  bool WaitIdle(absl::Time deadline) {
    for (const auto& loop : loops) {
      if (!loop->WaitIdle(deadline)) return false;
    }
    return true;
  }

  const StageExecutorOptions options;
  const std::string backend_name;
  StepVote vote;
  StepEnd end;
  DrawExchange draws;
  NeighbourWaits waits;
  SequenceTable sequences;
  std::shared_ptr<EpochState> NewEpoch(const EpochOptions& epoch_options) const;
  absl::Status Rehearse();
  // Of the caches, which have this many blocks, unless they stand.
  absl::Status MakeGraphs(int64_t num_blocks);
  // While they are idle: `work` for each, with its index, at the same time: devices wait for each
  // other in sums.
  absl::Status OnAllDevices(const std::function<absl::Status(size_t, DeviceRunner&)>& work);
  std::vector<MemoryPool> Pools() const;

  bool rehearsed = false;
  int64_t graph_blocks = 0;  // of the caches that graphs name; 0: there are none
  GraphSummary graphs;
  std::shared_ptr<EpochState> epoch;  // null before the first
  uint64_t last_step_id = 0;          // submitted in this epoch
  std::vector<std::unique_ptr<DeviceRunner>> runners;
  // After the runners, which their threads use.
  std::vector<std::unique_ptr<DeviceLoop>> loops;
};

std::shared_ptr<EpochState> StageExecutor::Impl::NewEpoch(const EpochOptions& epoch_options) const {
  // A step begins with tokens of a step in flight; devices may be that far apart again.
  const size_t num_kept_steps = 2 * static_cast<size_t>(options.max_steps_in_flight) + 2;
  auto state = std::make_shared<EpochState>(num_kept_steps);
  state->epoch = epoch_options.epoch;
  state->source = epoch_options.source;
  state->sink = epoch_options.sink;
  state->token_sink = epoch_options.token_sink;
  if (epoch_options.token_source != nullptr) {
    state->token_reader = std::make_unique<TokenReader>(
        epoch_options.token_source, &state->feedback, options.config.vocab_size);
  }
  return state;
}

absl::Status StageExecutor::Impl::Rehearse() {
  for (const std::unique_ptr<DeviceRunner>& runner : runners) {
    RETURN_IF_ERROR(runner->weight_store().Finish());
  }
  // A tap is shown steps of sequences alone.
  if (rehearsed || options.tap != nullptr) return absl::OkStatus();
  RETURN_IF_ERROR(OnAllDevices([](size_t, DeviceRunner& runner) { return runner.Rehearse(); }));
  rehearsed = true;
  return absl::OkStatus();
}

absl::Status StageExecutor::Impl::MakeGraphs(int64_t num_blocks) {
  const kernels::Ops& ops = runners.front()->ops();
  graphs.time = absl::ZeroDuration();
  if (!ops.keeps_graphs() || graph_blocks == num_blocks) return absl::OkStatus();
  const absl::Time start = SteadyNow();
  const uint64_t free_bytes = ops.memory().free_bytes;
  const auto run_shapes = [](size_t, DeviceRunner& runner) {
    runner.model().RunGraphShapes();
    return absl::OkStatus();
  };
  std::vector<StageModel::MadeGraphs> made(runners.size());
  // Each pass ends on all devices before the next begins: a kernel that waits for another device's
  // part would stand in the way of that one's work on graphs.
  RETURN_IF_ERROR(OnAllDevices(run_shapes));
  RETURN_IF_ERROR(OnAllDevices([&made](size_t device, DeviceRunner& runner) {
    made[device] = runner.model().MakeGraphs();
    return absl::OkStatus();
  }));
  // Devices run the same graphs: what one has no memory for, none uses.
  const auto fewest = std::min_element(
      made.begin(), made.end(), [](const auto& a, const auto& b) { return a.count < b.count; });
  for (const auto& runner : runners) runner->model().UseGraphs(fewest->count);
  RETURN_IF_ERROR(OnAllDevices(run_shapes));
  graph_blocks = num_blocks;
  const uint64_t left_bytes = ops.memory().free_bytes;
  graphs = {.num_graphs = fewest->count,
            .num_refused = fewest->wanted - fewest->count,
            .time = SteadyNow() - start};
  if (fewest->wanted == 0) return absl::OkStatus();
  BATON_LOG(INFO) << graphs.num_graphs << " graphs on each device, made in "
                  << absl::ToInt64Milliseconds(graphs.time) << " ms; they take "
                  << (free_bytes > left_bytes ? free_bytes - left_bytes : 0)
                  << " bytes of the first";
  if (fewest->refusal.ok()) return absl::OkStatus();
  BATON_LOG(WARNING) << "no memory for " << graphs.num_refused << " of " << fewest->wanted
                     << " graphs; steps of their sizes are launched operation by operation, which "
                        "is slower. A lower --gpu-memory-utilization leaves room for them, "
                        "--enforce-eager makes none. "
                     << fewest->refusal.message();
  return absl::OkStatus();
}

absl::Status StageExecutor::Impl::OnAllDevices(
    const std::function<absl::Status(size_t, DeviceRunner&)>& work) {
  std::vector<absl::Status> results(runners.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < runners.size(); ++i) {
    threads.emplace_back([this, i, &work, &results] { results[i] = work(i, *runners[i]); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& status : results) RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

std::vector<MemoryPool> StageExecutor::Impl::Pools() const {
  const uint64_t block_bytes =
      KvShapeOf(options.config, options.stage.num_cached_layers(), options.compute_type)
          .block_bytes();
  std::vector<MemoryPool> pools;
  for (size_t i = 0; i < runners.size(); ++i) {
    const kernels::Ops& ops = runners[i]->ops();
    const bool is_host = ops.shares_host_memory();
    if (pools.empty() || !is_host) {
      const kernels::DeviceMemory memory = ops.memory();
      pools.push_back({.name = is_host ? "host" : absl::StrCat("device ", i),
                       .is_host = is_host,
                       .total_bytes = memory.total_bytes,
                       .free_bytes = memory.free_bytes});
    }
    pools.back().weight_bytes += runners[i]->weight_store().resident_bytes();
    pools.back().workspace_bytes += runners[i]->workspace_bytes();
    pools.back().kv_block_bytes += block_bytes;
  }
  return pools;
}

StageExecutor::StageExecutor(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

StageExecutor::~StageExecutor() { Stop(); }

absl::StatusOr<std::unique_ptr<StageExecutor>> StageExecutor::Create(
    const StageExecutorOptions& given, kernels::Team team, StepObserver* observer) {
  RETURN_IF_ERROR(CheckOptions(given, team));
  StageExecutorOptions options = given;
  options.stage.has_mtp = options.stage.has_head && options.num_speculative_tokens > 0;
  auto impl = std::make_unique<Impl>(options, team);
  DeviceRunnerOptions runner_options;
  runner_options.shape = {options.config,
                          options.stage,
                          options.num_ranks,
                          0,
                          options.compute_type,
                          options.max_step_tokens,
                          options.max_step_sequences,
                          options.max_model_len};
  runner_options.step_timeout = options.step_timeout;
  runner_options.max_steps_in_flight = options.max_steps_in_flight;
  runner_options.num_drafts = options.num_speculative_tokens;
  runner_options.expand_prompts = options.expand_prompts;
  runner_options.constraints = options.constraints;
  runner_options.feeds_back = options.num_speculative_tokens == 0;
  runner_options.tap = options.tap;
  runner_options.vote = &impl->vote;
  runner_options.end = &impl->end;
  runner_options.draws = &impl->draws;
  runner_options.waits = &impl->waits;
  runner_options.observer = observer;
  for (kernels::Team::Device& device : team.devices) {
    ASSIGN_OR_RETURN(std::unique_ptr<DeviceRunner> runner,
                     DeviceRunner::Create(runner_options, std::move(device)));
    impl->runners.push_back(std::move(runner));
  }
  // One more than in flight: of the last stage a device may still be in a step that rank 0's has
  // already reported.
  const size_t capacity = static_cast<size_t>(options.max_steps_in_flight) + 1;
  for (const std::unique_ptr<DeviceRunner>& runner : impl->runners) {
    impl->loops.push_back(std::make_unique<DeviceLoop>(
        capacity, [device = runner.get()](const QueuedStep& step) { device->Run(step); }));
  }
  return std::unique_ptr<StageExecutor>(new StageExecutor(std::move(impl)));
}

int StageExecutor::num_devices() const { return static_cast<int>(impl_->runners.size()); }

WeightStore& StageExecutor::weight_store(int device) {
  return impl_->runners[static_cast<size_t>(device)]->weight_store();
}

absl::StatusOr<MemoryPlan> StageExecutor::PlanMemory(MemoryLimits limits) {
  const StageExecutorOptions& options = impl_->options;
  RETURN_IF_ERROR(impl_->Rehearse());
  limits.min_blocks = (options.max_model_len + kernels::kBlockTokens - 1) / kernels::kBlockTokens;
  return DivideMemory(impl_->Pools(), limits);
}

void StageExecutor::SetVocabulary(std::shared_ptr<const structured::VocabularyTrie> vocabulary) {
  for (const std::unique_ptr<DeviceRunner>& runner : impl_->runners) {
    runner->SetVocabulary(vocabulary);
  }
}

absl::Status StageExecutor::BeginEpoch(const EpochOptions& options) {
  const StageShape& stage = impl_->options.stage;
  if ((options.source == nullptr) != stage.has_embedding ||
      (options.sink == nullptr) != stage.has_head) {
    return absl::FailedPreconditionError("a stage between others needs a source and a sink");
  }
  const bool feeds_back = impl_->options.num_speculative_tokens == 0;
  if ((options.token_source != nullptr) != (feeds_back && stage.has_embedding && !stage.has_head) ||
      (options.token_sink != nullptr) != (feeds_back && stage.has_head && !stage.has_embedding)) {
    return absl::FailedPreconditionError("the last stage sends its tokens to the first");
  }
  if (impl_->epoch != nullptr && options.epoch <= impl_->epoch->epoch) {
    return absl::InvalidArgumentError(
        absl::StrCat("epoch ", options.epoch, " after ", impl_->epoch->epoch));
  }
  RETURN_IF_ERROR(CheckRange("num_blocks", options.num_blocks, 1, INT32_MAX));
  for (const std::unique_ptr<DeviceRunner>& runner : impl_->runners) {
    RETURN_IF_ERROR(runner->weight_store().Finish());
  }
  if (impl_->epoch != nullptr) impl_->epoch->End(absl::CancelledError("another epoch begins"));
  if (!impl_->WaitIdle(options.deadline)) {
    return absl::DeadlineExceededError(
        absl::StrCat("steps of epoch ", impl_->epoch->epoch, " have not ended"));
  }
  if (impl_->graph_blocks != options.num_blocks) {
    // All or none: devices run the same graphs.
    for (const std::unique_ptr<DeviceRunner>& runner : impl_->runners) runner->ForgetGraphs();
    impl_->graph_blocks = 0;
    impl_->graphs = {};
  }
  for (const std::unique_ptr<DeviceRunner>& runner : impl_->runners) {
    RETURN_IF_ERROR(runner->ResizeCache(options.num_blocks));
  }
  RETURN_IF_ERROR(impl_->MakeGraphs(options.num_blocks));
  impl_->sequences.Reset(options.num_blocks);
  impl_->last_step_id = 0;
  impl_->epoch = impl_->NewEpoch(options);
  return absl::OkStatus();
}

absl::Status StageExecutor::Submit(const StepWork& work) {
  if (impl_->epoch == nullptr || work.epoch != impl_->epoch->epoch || impl_->epoch->ended) {
    return absl::FailedPreconditionError(absl::StrCat(
        "step ", work.step_id, " of epoch ", work.epoch, ": the stage is ",
        impl_->epoch == nullptr ? "in no epoch"
                                : absl::StrCat("in epoch ", impl_->epoch->epoch,
                                               impl_->epoch->ended ? ", which has ended" : "")));
  }
  if (work.step_id != impl_->last_step_id + 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("step ", work.step_id, " after step ", impl_->last_step_id));
  }
  for (const std::unique_ptr<DeviceLoop>& loop : impl_->loops) {
    if (loop->HasRoom()) continue;
    return absl::ResourceExhaustedError(
        absl::StrCat("step ", work.step_id, ": the stage's queue is full"));
  }
  for (const TokenFeedback::Token& token : impl_->epoch->feedback.TakeNew()) {
    impl_->sequences.LearnToken(token.sequence_id, token.position, token.token_id);
  }
  ASSIGN_OR_RETURN(std::unique_ptr<StepBatch> batch, impl_->sequences.Apply(work));
  impl_->last_step_id = work.step_id;
  for (const std::unique_ptr<DeviceRunner>& runner : impl_->runners) runner->Prepare(work);
  auto step = std::make_shared<QueuedStep>();
  step->batch = std::move(batch);
  step->epoch = impl_->epoch;
  step->submitted = std::chrono::steady_clock::now();
  step->work_waited = work.work_waited;
  // There was room and only this thread pushes.
  for (const std::unique_ptr<DeviceLoop>& loop : impl_->loops) {
    BATON_CHECK(loop->TrySubmit(step)) << "step " << work.step_id;
  }
  return absl::OkStatus();
}

absl::Status StageExecutor::Drain(absl::Time deadline) {
  if (impl_->WaitIdle(deadline)) return absl::OkStatus();
  return absl::DeadlineExceededError("steps are still under way");
}

void StageExecutor::Stop() {
  if (impl_->epoch != nullptr) impl_->epoch->End(absl::CancelledError("the stage ends"));
  for (const std::unique_ptr<DeviceLoop>& loop : impl_->loops) loop->Stop();
}

std::vector<NeighbourWait> StageExecutor::neighbour_waits() const { return impl_->waits.All(); }

const GraphSummary& StageExecutor::graphs() const { return impl_->graphs; }

const std::string& StageExecutor::backend_name() const { return impl_->backend_name; }

int64_t StageExecutor::num_sequences() const { return impl_->sequences.num_sequences(); }

int64_t StageExecutor::num_used_blocks() const { return impl_->sequences.num_held_blocks(); }

uint64_t StageExecutor::weight_bytes() const {
  uint64_t bytes = 0;
  for (const auto& runner : impl_->runners) bytes += runner->weight_store().resident_bytes();
  return bytes;
}

uint64_t StageExecutor::kv_bytes() const {
  uint64_t bytes = 0;
  for (const auto& runner : impl_->runners) bytes += runner->kv_bytes();
  return bytes;
}

uint64_t StageExecutor::constraint_bytes() const {
  uint64_t bytes = 0;
  for (const auto& runner : impl_->runners) bytes += runner->constraint_bytes();
  return bytes;
}

}  // namespace baton::stage
