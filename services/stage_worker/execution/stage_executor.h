// Runs one stage: owns its devices' weights, caches and threads; takes steps, gives results.
//
// Life, as the stage-worker's server drives it:
//
//   ASSIGN_OR_RETURN(auto team, backend.CreateTeam(num_ranks, num_devices));
//   ASSIGN_OR_RETURN(auto executor, StageExecutor::Create(options, std::move(team), &observer));
//   for each device d: fill executor->weight_store(d) (see weight_store.h), Finish() each
//   ASSIGN_OR_RETURN(MemoryPlan plan, executor->PlanMemory(limits));  // -> StageReady
//   RETURN_IF_ERROR(executor->BeginEpoch({epoch, num_blocks, source, sink, deadline}));
//   executor->Submit(work);  ... observer.OnStepDone(result)  // steps
//   RETURN_IF_ERROR(executor->BeginEpoch(...));  // after a fault: sequences are forgotten
//   executor->Stop();
//
// Threads: one per device, started by Create, ended by Stop. Each owns its device's ops, cache and
// workspace. All other calls come from one thread at a time, which then owns the sequence table
// (the control thread, or while joined the one that reads the scheduler's stream); the observer is
// called by device threads. Waits are event-driven: an idle executor uses no processor time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/model/model_config.h"
#include "common/model/weight_inventory.h"
#include "common/structured_output/vocabulary_trie.h"
#include "common/tensor/data_type.h"
#include "kernels/api/ops.h"
#include "services/stage_worker/execution/hidden_states.h"
#include "services/stage_worker/execution/memory_plan.h"
#include "services/stage_worker/execution/neighbour_waits.h"
#include "services/stage_worker/execution/step_result.h"
#include "services/stage_worker/execution/token_channel.h"
#include "services/stage_worker/kv_cache/sequence_table.h"
#include "services/stage_worker/kv_cache/step_work.h"
#include "services/stage_worker/model/activation_tap.h"
#include "services/stage_worker/model/compiled_constraints.h"
#include "services/stage_worker/weights/weight_store.h"

namespace baton::stage {

// As the scheduler's StagePlan says.
struct StageExecutorOptions {
  ModelConfig config;
  StageShape stage;  // has_embedding: no source is needed; has_head: no sink, tokens are drawn
  int num_ranks = 1;
  DataType compute_type = DataType::kBFloat16;
  int64_t max_model_len = 0;
  int64_t max_step_tokens = 0;
  int64_t max_step_sequences = 0;
  int64_t max_steps_in_flight = 1;  // bound of each device's queue
  // Tokens that the last stage guesses behind each that it draws, with the MTP module;
  // [0, kMaxSpeculativeTokens]. Unless it is 0, nothing is fed back from step to step.
  int64_t num_speculative_tokens = 0;
  // Whole blocks of prompts attend in the expanded form: of backends that expand prompts, the same
  // on all stages of a group.
  bool expand_prompts = false;
  ConstraintOptions constraints;  // of structured output, where tokens are drawn
  // Longest wait of one step for its neighbours.
  absl::Duration step_timeout = absl::Seconds(30);
  // Sees activations of the first device; may be null; must outlive the executor.
  ActivationTap* tap = nullptr;
};

struct EpochOptions {
  uint64_t epoch = 0;                   // > the last one
  int64_t num_blocks = 0;               // of KV cache
  HiddenStateSource* source = nullptr;  // null on the first stage; must outlive the epoch
  HiddenStateSink* sink = nullptr;      // null on the last stage; must outlive the epoch
  // Of several stages, the first has the source and the last the sink; must outlive the epoch.
  TokenSource* token_source = nullptr;
  TokenSink* token_sink = nullptr;
  // How long steps of the old epoch may take to end; the caller has cancelled their waits.
  absl::Time deadline = absl::InfiniteFuture();
};

// Graphs of steps that each device has, as the last BeginEpoch left them; zeros where devices keep
// none.
struct GraphSummary {
  size_t num_graphs = 0;
  // For which some device had no memory: steps of their sizes are launched operation by operation.
  size_t num_refused = 0;
  absl::Duration time;  // that the last BeginEpoch took for them
};

class StageExecutor final {
 public:
  // Allocates the workspace of each device. `observer` must outlive the executor. Errors:
  // InvalidArgument (sizes that do not divide by num_ranks, limits out of range),
  // ResourceExhausted.
  static absl::StatusOr<std::unique_ptr<StageExecutor>> Create(const StageExecutorOptions& options,
                                                               kernels::Team team,
                                                               StepObserver* observer);
  ~StageExecutor();  // Stop()

  int num_devices() const;
  // Bytes of weights of one device; see weight_store.h.
  WeightStore& weight_store(int device);

  // What weights, workspace and KV cache take of the devices' memory, and how many blocks of KV
  // cache there will be; limits.min_blocks is filled in. On devices with memory of their own the
  // first call runs steps of no sequence, to learn what operations need. Before the first epoch.
  // Errors: FailedPrecondition (weights not complete), ResourceExhausted with the figures (see
  // DivideMemory).
  absl::StatusOr<MemoryPlan> PlanMemory(MemoryLimits limits);

  // What tokens stand for, so that structured output can be kept; null: not known. Before the first
  // epoch.
  void SetVocabulary(std::shared_ptr<const structured::VocabularyTrie> vocabulary);

  // Ends the old epoch (its queued steps are dropped), forgets all sequences, makes the KV cache if
  // its size changed, and the graphs of devices that keep them, as far as there is memory for them
  // (a warning says where not). Errors: FailedPrecondition
  // (weights, neighbours), InvalidArgument (epoch, blocks), DeadlineExceeded (a device is still in
  // a step), ResourceExhausted.
  absl::Status BeginEpoch(const EpochOptions& options);

  // Checks the step against the sequences and queues it; where tokens are drawn, constraints of new
  // sequences begin to be compiled, which no step waits for before it draws with them. Errors, with
  // nothing changed: InvalidArgument (see SequenceTable::Apply; a step_id that is not the next
  // one), FailedPrecondition (another epoch, or none), ResourceExhausted (max_steps_in_flight are
  // queued).
  absl::Status Submit(const StepWork& work);

  // Waits until all submitted steps are done. DeadlineExceeded.
  absl::Status Drain(absl::Time deadline);

  // Drops queued steps, waits for those under way, joins the threads. Cancel the source and the
  // sink first. Idempotent.
  void Stop();

  // What devices wait for that a neighbour sends; see NeighbourWaits::All. Any thread.
  std::vector<NeighbourWait> neighbour_waits() const;
  const GraphSummary& graphs() const;
  const std::string& backend_name() const;  // "cpu/avx512_bf16"
  int64_t num_sequences() const;
  int64_t num_used_blocks() const;
  uint64_t weight_bytes() const;  // resident, all devices
  uint64_t kv_bytes() const;      // all devices
  // What structured output takes: masks, compiled constraints, their states. Any thread.
  uint64_t constraint_bytes() const;

 private:
  struct Impl;
  explicit StageExecutor(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace baton::stage
