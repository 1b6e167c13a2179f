#include "services/stage_worker/execution/device_runner.h"

#include <algorithm>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/concurrency/steady_time.h"
#include "common/log/check.h"
#include "common/status/status_macros.h"
#include "services/stage_worker/execution/rehearsal.h"

namespace baton::stage {
namespace {

using Clock = std::chrono::steady_clock;

uint32_t MicrosBetween(Clock::time_point begin, Clock::time_point end) {
  return static_cast<uint32_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(end - begin).count());
}

}  // namespace

// When the parts of a step began.
struct DeviceRunner::Timing {
  Clock::time_point start = Clock::now();
  Clock::time_point received;
  Clock::time_point agreed;
  Clock::time_point computed;
  Clock::time_point sent;
};

DeviceRunner::DeviceRunner(DeviceRunnerOptions options, kernels::Team::Device device)
    : options_(std::move(options)), device_(std::move(device)) {}

absl::StatusOr<std::unique_ptr<DeviceRunner>> DeviceRunner::Create(DeviceRunnerOptions options,
                                                                   kernels::Team::Device device) {
  BATON_CHECK(!options.expand_prompts || !device.ops->keeps_graphs()) << "a graph's rows are fixed";
  BATON_CHECK(options.vote != nullptr && options.end != nullptr && options.waits != nullptr)
      << "what the devices of a stage share";
  options.shape.num_local_ranks = device.num_ranks;
  options.shape.copies_slices = !device.ops->shares_host_memory();
  std::unique_ptr<DeviceRunner> runner(new DeviceRunner(std::move(options), std::move(device)));
  const WorkspaceShape& shape = runner->options_.shape;
  kernels::Ops* ops = runner->device_.ops.get();
  const int first_rank = runner->device_.first_rank;
  ASSIGN_OR_RETURN(runner->weight_store_,
                   WeightStore::Create(
                       {shape.config, shape.stage, shape.num_ranks, first_rank,
                        shape.num_local_ranks, shape.compute_type, runner->options_.expand_prompts},
                       ops));
  ASSIGN_OR_RETURN(runner->workspace_, CreateWorkspace(shape, ops));
  if (first_rank == 0 && shape.stage.has_head) {
    runner->constraints_ = std::make_unique<DrawConstraints>(runner->options_.constraints);
  }
  const DeviceContext context{&shape.config,
                              ops,
                              runner->device_.collectives.get(),
                              runner->workspace_.get(),
                              shape.num_ranks,
                              first_rank,
                              first_rank == 0 ? runner->options_.tap : nullptr,
                              ops->keeps_graphs() && runner->options_.tap == nullptr,
                              runner->constraints_.get()};
  runner->model_ =
      std::make_unique<StageModel>(context, shape.stage, &runner->weight_store_->weights());
  return runner;
}

uint64_t DeviceRunner::workspace_bytes() const {
  return workspace_->bytes + device_.ops->working_bytes() + device_.collectives->working_bytes();
}

absl::Status DeviceRunner::Rehearse() {
  const WorkspaceShape& shape = options_.shape;
  std::vector<StepBatch> largest = {MakeRehearsal(shape, shape.max_step_tokens)};
  if (options_.expand_prompts) largest.push_back(MakeExpandedRehearsal(shape));
  int64_t num_blocks = 1;
  for (const StepBatch& step : largest) num_blocks = std::max(num_blocks, NumBlocksOf(step));
  ASSIGN_OR_RETURN(const std::unique_ptr<KvCache> cache,
                   KvCache::Create(KvShapeOf(shape.config, 1, shape.compute_type), num_blocks,
                                   device_.ops.get()));
  device_.ops->MakeRoom([&] {
    for (const StepBatch& step : largest) {
      model_->Rehearse(step, *cache, /*all_layers=*/false, options_.num_drafts);
    }
    model_->Rehearse(MakeRehearsal(shape, 1), *cache, /*all_layers=*/true, options_.num_drafts);
  });
  return absl::OkStatus();
}

absl::Status DeviceRunner::ResizeCache(int64_t num_blocks) {
  if (cache_ != nullptr && cache_->num_blocks() == num_blocks) return absl::OkStatus();
  const WorkspaceShape& shape = options_.shape;
  cache_.reset();
  ASSIGN_OR_RETURN(cache_, KvCache::Create(KvShapeOf(shape.config, shape.stage.num_cached_layers(),
                                                     shape.compute_type),
                                           num_blocks, device_.ops.get()));
  model_->UseCache(cache_.get());
  return absl::OkStatus();
}

void DeviceRunner::ForgetGraphs() {
  if (model_ != nullptr) model_->UseGraphs(0);
  device_.ops->ForgetGraphs();
}

void DeviceRunner::SetVocabulary(std::shared_ptr<const structured::VocabularyTrie> vocabulary) {
  if (constraints_ != nullptr) constraints_->SetVocabulary(std::move(vocabulary));
}

void DeviceRunner::Prepare(const StepWork& work) {
  if (constraints_ == nullptr) return;
  for (const NewSequenceWork& sequence : work.new_sequences) {
    constraints_->Prepare(sequence.sampling,
                          std::span(sequence.token_ids).subspan(sequence.num_prompt_tokens));
  }
}

HiddenStateKey DeviceRunner::KeyOf(const QueuedStep& step, int local_rank) const {
  return {step.batch->epoch, step.batch->step_id, device_.first_rank + local_rank};
}

void DeviceRunner::Break(const QueuedStep& step, const absl::Status& status) {
  const bool was_broken = step.epoch->broken.exchange(true);
  step.epoch->End(status);
  if (was_broken) return;
  options_.observer->OnEpochBroken(step.batch->epoch, step.batch->step_id, status);
}

bool DeviceRunner::ReceiveSlices(const QueuedStep& step) {
  HiddenStateSource* source = step.epoch->source;
  const absl::Time deadline = SteadyNow() + options_.step_timeout;
  const NeighbourWaits::Scope wait(options_.waits, device_.first_rank, AwaitedFrames::kHiddenStates,
                                   step.batch->step_id);
  for (int i = 0; i < device_.num_ranks; ++i) {
    const HiddenStateKey key = KeyOf(step, i);
    absl::StatusOr<TensorView> slice = source->Receive(key, step.batch->num_tokens(), deadline);
    if (!slice.ok()) {
      Break(step, Annotate(slice.status(), absl::StrCat("hidden states of step ", key.step_id,
                                                        " for rank ", key.rank)));
      return false;
    }
    slices_.push_back(*slice);
  }
  return true;
}

void DeviceRunner::ReleaseSlices(const QueuedStep& step) {
  for (size_t i = 0; i < slices_.size(); ++i) {
    step.epoch->source->Release(KeyOf(step, static_cast<int>(i)));
  }
  slices_.clear();
}

void DeviceRunner::SendStream(const QueuedStep& step) {
  HiddenStateSink* sink = step.epoch->sink;
  const absl::Time deadline = SteadyNow() + options_.step_timeout;
  const auto fail = [&](const absl::Status& status, const HiddenStateKey& key) {
    Break(step, Annotate(status, absl::StrCat("sending hidden states of step ", key.step_id,
                                              " from rank ", key.rank)));
  };
  std::vector<TensorView> slots;
  {
    const NeighbourWaits::Scope wait(options_.waits, device_.first_rank, AwaitedFrames::kCredit,
                                     step.batch->step_id);
    for (int i = 0; i < device_.num_ranks; ++i) {
      const HiddenStateKey key = KeyOf(step, i);
      absl::StatusOr<TensorView> slot = sink->Acquire(key, step.batch->num_tokens(), deadline);
      if (!slot.ok()) return fail(slot.status(), key);
      slots.push_back(*slot);
    }
  }
  model_->WriteStream(slots);
  for (int i = 0; i < device_.num_ranks; ++i) {
    const HiddenStateKey key = KeyOf(step, i);
    if (absl::Status sent = sink->Send(key); !sent.ok()) return fail(sent, key);
  }
}

bool DeviceRunner::ReceiveTokens(const QueuedStep& step) {
  batch_.reset();
  const StageShape& stage = options_.shape.stage;
  const absl::Time deadline = SteadyNow() + options_.step_timeout;
  uint64_t newest = 0;
  for (const FedRow& fed : step.batch->fed_rows) newest = std::max(newest, fed.step_id);
  if (TokenReader* reader = step.epoch->token_reader.get(); reader != nullptr && is_first()) {
    // Steps that far back are done on every stage, so their tokens are there or on their way.
    const auto in_flight = static_cast<uint64_t>(options_.max_steps_in_flight);
    const uint64_t step_id = step.batch->step_id;
    const uint64_t done = step_id > in_flight ? step_id - in_flight : 0;
    reader->Expect(*step.batch);
    const uint64_t last = std::max(done, newest);
    const NeighbourWaits::Scope wait(options_.waits, device_.first_rank, AwaitedFrames::kTokens,
                                     last);
    if (absl::Status status = reader->TakeUpTo(last, deadline); !status.ok()) {
      Break(step, Annotate(status, absl::StrCat("tokens for step ", step_id)));
      return false;
    }
  }
  // Where nothing is embedded, only penalties look at tokens, and those of rank 0's device alone.
  const bool needs_tokens = stage.has_embedding || (stage.has_head && is_first());
  if (newest == 0 || !needs_tokens) return true;
  absl::StatusOr<std::unique_ptr<const StepBatch>> filled =
      step.epoch->feedback.FillIn(*step.batch, deadline);
  if (!filled.ok()) {
    Break(step, filled.status());
    return false;
  }
  batch_ = *std::move(filled);
  return true;
}

void DeviceRunner::SendTokens(const QueuedStep& step, const StepOutput& output) {
  if (!options_.feeds_back) return;
  if (!is_first() || !options_.shape.stage.has_head || step.batch->draws.empty()) return;
  std::vector<TokenFeedback::Token> tokens;
  std::vector<uint32_t> ids;  // one per draw
  size_t next = 0;
  for (const DrawRow& draw : step.batch->draws) {
    const bool drawn =
        next < output.tokens.size() && output.tokens[next].sequence_id == draw.sequence_id;
    ids.push_back(drawn ? output.tokens[next].token_id : kNoToken);
    if (!drawn) continue;
    tokens.push_back({draw.sequence_id, draw.position, output.tokens[next].token_id});
    ++next;
  }
  step.epoch->feedback.Put(step.batch->step_id, std::move(tokens));
  if (step.epoch->token_sink == nullptr) return;
  const NeighbourWaits::Scope wait(options_.waits, device_.first_rank, AwaitedFrames::kCredit,
                                   step.batch->step_id);
  const absl::Status sent = step.epoch->token_sink->Send({step.batch->epoch, step.batch->step_id},
                                                         ids, SteadyNow() + options_.step_timeout);
  if (sent.ok()) return;
  Break(step, Annotate(sent, absl::StrCat("sending tokens of step ", step.batch->step_id)));
}

void DeviceRunner::Draft(const StepBatch& batch, StepOutput& output) {
  DrawExchange::Draws draws;
  if (!is_first()) {
    draws = options_.draws->Ask(batch.step_id);
  } else {
    auto counted = std::make_shared<std::vector<CountedDraw>>();
    for (uint32_t i = 0; i < batch.draws.size() && counted->size() < output.tokens.size(); ++i) {
      const DrawnToken& next = output.tokens[counted->size()];
      const DrawRow& draw = batch.draws[i];
      if (next.sequence_id != draw.sequence_id || next.position != draw.position) continue;
      counted->push_back({i, next.token_id});
    }
    draws = std::move(counted);
    options_.draws->Tell(batch.step_id, draws);
  }
  output.drafts = model_->Draft(batch, *draws, options_.num_drafts);
}

StepOutput DeviceRunner::Compute(const QueuedStep& step, const StepBatch& batch, Timing& timing) {
  model_->LoadStep(batch);
  if (options_.shape.stage.has_embedding) {
    model_->EmbedStep();
  } else {
    model_->AssembleStream(slices_);
    ReleaseSlices(step);
  }
  model_->RunLayers();
  StepOutput output;
  if (options_.shape.stage.has_head) output = model_->ComputeOutput(batch);
  if (options_.shape.stage.has_mtp) Draft(batch, output);
  timing.computed = Clock::now();
  if (options_.shape.stage.has_head) {
    SendTokens(step, output);
  } else {
    SendStream(step);
  }
  return output;
}

void DeviceRunner::Run(const QueuedStep& step) {
  Timing timing;
  const bool has_tokens = step.batch->num_tokens() > 0;
  bool ready = !step.epoch->ended;
  if (ready && has_tokens && !options_.shape.stage.has_embedding) ready = ReceiveSlices(step);
  if (ready && has_tokens) ready = ReceiveTokens(step);
  timing.received = Clock::now();
  if (!options_.vote->Agree(ready)) {
    ReleaseSlices(step);
    return;
  }
  StepResult result;
  timing.agreed = timing.computed = Clock::now();
  if (has_tokens) {
    result.output = Compute(step, batch_ != nullptr ? *batch_ : *step.batch, timing);
  }
  timing.sent = Clock::now();
  if (has_tokens) {
    if (step.work_waited && last_end_.has_value()) {
      result.gap_us = MicrosBetween(*last_end_, timing.agreed);
    }
    last_end_ = timing.sent;
  }
  Report(step, std::move(result), timing);
}

void DeviceRunner::Report(const QueuedStep& step, StepResult result, const Timing& timing) {
  result.epoch = step.batch->epoch;
  result.step_id = step.batch->step_id;
  result.queue_us = MicrosBetween(step.submitted, timing.start);
  result.receive_us = MicrosBetween(timing.start, timing.received);
  result.compute_us = MicrosBetween(timing.received, timing.computed);
  result.send_us = MicrosBetween(timing.computed, timing.sent);
  std::optional<StepResult> whole;
  if (is_first()) whole = std::move(result);
  // The last stage sends from rank 0's device alone, and its tokens are awaited.
  if (!options_.shape.stage.has_head) whole = options_.end->Arrive(std::move(whole));
  if (whole.has_value() && !step.epoch->broken) options_.observer->OnStepDone(*std::move(whole));
}

}  // namespace baton::stage
