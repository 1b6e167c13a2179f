// Everything that a plan makes: transport, executor with its weights, and the link to neighbours.
// Kept over losses of the scheduler or of a neighbour, so that weights are loaded once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "common/transport/transport.h"
#include "kernels/api/ops.h"
#include "protos/baton/v1/stage.pb.h"
#include "services/stage_worker/clients/loader_client.h"
#include "services/stage_worker/clients/stage_links.h"
#include "services/stage_worker/clients/weight_loader.h"
#include "services/stage_worker/execution/stage_executor.h"
#include "services/stage_worker/membership/stage_options.h"
#include "services/stage_worker/metrics/stage_snapshot.h"
#include "services/stage_worker/packed_weights/packed_cache.h"
#include "services/stage_worker/packed_weights/packed_counts.h"

namespace baton::stage {

// Threads: one caller (the control thread) unless said otherwise.
class LoadedStage final {
 public:
  // Checks the plan against the loader's model and prepares to load. All pointers must outlive the
  // stage. Errors: InvalidArgument or FailedPrecondition naming what does not fit (fingerprint,
  // ranks, layers), ResourceExhausted, UCX's.
  static absl::StatusOr<std::unique_ptr<LoadedStage>> Create(const StageOptions& options,
                                                             const v1::StagePlan& plan,
                                                             const ServedModel& model,
                                                             kernels::Backend* backend,
                                                             StepObserver* observer);
  ~LoadedStage();

  // Takes the weights from packed files where the worker keeps them, loads what is missing, and
  // sizes the KV cache. `counters` must outlive the stage. Errors: as WeightLoader::Run;
  // ResourceExhausted with the figures if the KV cache does not fit.
  absl::Status Load(LoaderClient* client, PackedCounters* counters);
  // Ends Load with Cancelled. Any thread.
  void CancelLoad();

  bool is_loaded() const;  // any thread

  // Whether `plan` asks for what is here.
  bool Fits(const v1::StagePlan& plan) const;
  // Whether the weights are of the checkpoint that `model`'s loader has.
  bool IsOf(const ServedModel& model) const {
    return checkpoint_fingerprint_ == model.checkpoint_fingerprint;
  }
  // What to tell the scheduler; load_ms is left to the caller. After Load.
  v1::StageReady MakeReady() const;

  // Ends the old epoch and connects for the new one. Errors: as StageExecutor::BeginEpoch and
  // StageLinks::BeginEpoch.
  absl::Status BeginEpoch(const v1::Topology& topology, uint64_t local_epoch);
  // Ends the waits of steps under way: nobody awaits their results.
  void AbandonEpoch(const absl::Status& reason);

  // A step is done: packed weights that are to be kept may be written from now on. Any thread.
  void NoteStep();

  StageExecutor& executor() { return *executor_; }
  StageLink& link() { return links_->states(); }
  // Has the transport's thread look for work, so that Describe's last_look moves. Any thread.
  void AskToLook() { transport_->AskToLook(); }
  // Fills in what this object knows. Any thread.
  void Describe(StageSnapshot* snapshot) const;

 private:
  // Fills the stores of which packed files are there.
  void AdoptPacked(const std::vector<WeightStore*>& stores, PackedCounters* counters);
  // Null where none is kept.
  std::unique_ptr<PackedCache> MakePackedCache(const std::vector<WeightStore*>& stores,
                                               PackedCounters* counters) const;
  // Of a stage that draws. Without it structured output fails, nothing else.
  absl::Status LoadVocabulary(LoaderClient* client);

  LoadedStage(const StageOptions& options, const v1::StagePlan& plan)
      : options_(options), plan_(plan) {}

  absl::Status Init(const ServedModel& model, kernels::Backend* backend, StepObserver* observer);
  absl::StatusOr<MemoryPlan> BudgetMemory();

  const StageOptions options_;
  const v1::StagePlan plan_;
  size_t vocab_size_ = 0;
  std::string fingerprint_;
  std::string checkpoint_fingerprint_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<StageLinks> links_;
  std::unique_ptr<StageExecutor> executor_;
  MemoryPlan memory_;

  mutable absl::Mutex load_mutex_;
  // Null: none. Ends before the executor, whose weights it reads.
  std::unique_ptr<PackedCache> packed_ ABSL_GUARDED_BY(load_mutex_);
  std::unique_ptr<WeightLoader> loader_ ABSL_GUARDED_BY(load_mutex_);  // while Load runs
  bool load_cancelled_ ABSL_GUARDED_BY(load_mutex_) = false;
  uint64_t total_bytes_ ABSL_GUARDED_BY(load_mutex_) = 0;
  uint64_t loaded_bytes_ ABSL_GUARDED_BY(load_mutex_) = 0;  // while no Load runs
  bool loaded_ ABSL_GUARDED_BY(load_mutex_) = false;
  uint32_t num_blocks_ ABSL_GUARDED_BY(load_mutex_) = 0;  // of the epoch
  size_t num_graphs_ ABSL_GUARDED_BY(load_mutex_) = 0;    // likewise
  size_t num_refused_graphs_ ABSL_GUARDED_BY(load_mutex_) = 0;
  uint64_t weight_bytes_ ABSL_GUARDED_BY(load_mutex_) = 0;
  uint64_t kv_block_bytes_ ABSL_GUARDED_BY(load_mutex_) = 0;
};

}  // namespace baton::stage
