#include "services/stage_worker/membership/loaded_stage.h"

#include <algorithm>
#include <malloc.h>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "common/concurrency/steady_time.h"
#include "common/config/build_id.h"
#include "common/log/log.h"
#include "common/status/status_macros.h"
#include "common/structured_output/vocabulary_trie.h"
#include "kernels/api/attention.h"

namespace baton::stage {
namespace {

constexpr absl::Duration kVocabularyLimit = absl::Seconds(30);

absl::Status CheckPlan(const StageOptions& options, const v1::StagePlan& plan,
                       const ServedModel& model) {
  if (plan.model_fingerprint() != model.fingerprint) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the scheduler plans for the model with fingerprint ", plan.model_fingerprint(),
        "; the model-loader at ", options.model_loader_address, " has ", model.fingerprint));
  }
  if (plan.num_ranks() != static_cast<uint32_t>(options.num_ranks)) {
    return absl::InvalidArgumentError(absl::StrCat("the plan has ", plan.num_ranks(),
                                                   " ranks; this worker has ", options.num_ranks));
  }
  if (plan.stage_index() >= plan.num_stages() || plan.layers().begin() >= plan.layers().end() ||
      plan.layers().end() > static_cast<uint64_t>(model.config.num_layers)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the plan gives stage ", plan.stage_index(), " of ", plan.num_stages(), " the layers [",
        plan.layers().begin(), ", ", plan.layers().end(), ") of ", model.config.num_layers));
  }
  if (plan.block_tokens() != static_cast<uint32_t>(kernels::kBlockTokens)) {
    return absl::InvalidArgumentError(absl::StrCat("the plan has KV blocks of ",
                                                   plan.block_tokens(), " tokens; this worker ",
                                                   kernels::kBlockTokens));
  }
  if (plan.compute_type() != v1::DATA_TYPE_BFLOAT16 &&
      plan.compute_type() != v1::DATA_TYPE_FLOAT32) {
    return absl::InvalidArgumentError(
        absl::StrCat("the plan computes in ", v1::DataType_Name(plan.compute_type())));
  }
  if (plan.num_speculative_tokens() > 0 && model.config.num_mtp_layers == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the plan asks for ", plan.num_speculative_tokens(),
                     " speculative tokens; the model has no MTP module"));
  }
  if (plan.max_steps_in_flight() == 0 || plan.max_step_tokens() == 0) {
    return absl::InvalidArgumentError("the plan allows no step");
  }
  return absl::OkStatus();
}

StageExecutorOptions ExecutorOptions(const StageOptions& options, const v1::StagePlan& plan,
                                     const ServedModel& model) {
  StageExecutorOptions out;
  out.config = model.config;
  out.stage = {.layer_begin = plan.layers().begin(),
               .layer_end = plan.layers().end(),
               .has_embedding = plan.stage_index() == 0,
               .has_head = plan.stage_index() + 1 == plan.num_stages()};
  out.num_ranks = options.num_ranks;
  out.compute_type =
      plan.compute_type() == v1::DATA_TYPE_FLOAT32 ? DataType::kFloat32 : DataType::kBFloat16;
  out.max_model_len = plan.max_model_len();
  out.max_step_tokens = plan.max_step_tokens();
  out.max_step_sequences = plan.max_step_sequences();
  out.max_steps_in_flight = plan.max_steps_in_flight();
  out.num_speculative_tokens = plan.num_speculative_tokens();
  out.expand_prompts = options.expands_prompts;
  out.constraints.capacity_bytes = options.constraint_bytes;
  out.step_timeout = options.step_timeout;
  return out;
}

// What received the slices is free, but malloc keeps it, and nobody will want it again. Takes some
// milliseconds.
void ReturnFreeMemory() { malloc_trim(0); }

}  // namespace

absl::StatusOr<std::unique_ptr<LoadedStage>> LoadedStage::Create(const StageOptions& options,
                                                                 const v1::StagePlan& plan,
                                                                 const ServedModel& model,
                                                                 kernels::Backend* backend,
                                                                 StepObserver* observer) {
  RETURN_IF_ERROR(CheckPlan(options, plan, model));
  std::unique_ptr<LoadedStage> stage(new LoadedStage(options, plan));
  RETURN_IF_ERROR(stage->Init(model, backend, observer));
  return stage;
}

absl::Status LoadedStage::Init(const ServedModel& model, kernels::Backend* backend,
                               StepObserver* observer) {
  fingerprint_ = model.fingerprint;
  checkpoint_fingerprint_ = model.checkpoint_fingerprint;
  vocab_size_ = static_cast<size_t>(model.config.vocab_size);
  const StageExecutorOptions executor_options = ExecutorOptions(options_, plan_, model);
  ASSIGN_OR_RETURN(transport_,
                   Transport::Create({.name = absl::StrCat("stage-", plan_.stage_index()),
                                      .transports = options_.ucx_transports,
                                      .net_devices = options_.ucx_net_devices,
                                      .spin = options_.ucx_spin}));
  const bool feeds_back = plan_.num_speculative_tokens() == 0;
  const bool is_first = executor_options.stage.has_embedding;
  const bool is_last = executor_options.stage.has_head;
  const StageLinkOptions states = {.has_previous = !is_first,
                                   .has_next = !is_last,
                                   .num_ranks = options_.num_ranks,
                                   .part_columns = model.config.hidden_size / options_.num_ranks,
                                   .type = executor_options.compute_type,
                                   .max_step_tokens = plan_.max_step_tokens(),
                                   .max_steps_in_flight = plan_.max_steps_in_flight(),
                                   .least_rate = options_.least_link_rate};
  const TokenLinkOptions tokens = {.receives = feeds_back && is_first && !is_last,
                                   .sends = feeds_back && is_last && !is_first,
                                   .max_step_sequences = plan_.max_step_sequences(),
                                   .max_steps_in_flight = plan_.max_steps_in_flight()};
  ASSIGN_OR_RETURN(links_, StageLinks::Create(transport_.get(), states, tokens));
  ASSIGN_OR_RETURN(kernels::Team team,
                   backend->CreateTeam(options_.num_ranks, options_.num_devices));
  ASSIGN_OR_RETURN(executor_, StageExecutor::Create(executor_options, std::move(team), observer));
  return absl::OkStatus();
}

LoadedStage::~LoadedStage() {
  packed_.reset();
  AbandonEpoch(absl::CancelledError("the stage ends"));
  if (executor_ != nullptr) executor_->Stop();
}

std::unique_ptr<PackedCache> LoadedStage::MakePackedCache(const std::vector<WeightStore*>& stores,
                                                          PackedCounters* counters) const {
  if (options_.packed_weights_folder.empty()) return nullptr;
  const std::string build_id = BuildId();
  absl::string_view reason;
  if (build_id.empty()) reason = "the program was linked without a build id";
  if (checkpoint_fingerprint_.empty()) reason = "the model-loader does not tell checkpoints apart";
  for (const WeightStore* store : stores) {
    if (store->packing().empty()) reason = "these kernels' weights stay on their device";
  }
  if (!reason.empty()) {
    BATON_LOG(WARNING) << "packed weights are not kept: " << reason;
    return nullptr;
  }
  return std::make_unique<PackedCache>(
      PackedCacheOptions{.folder = options_.packed_weights_folder,
                         .max_bytes = options_.packed_weights_bytes,
                         .origin = {.build_id = build_id,
                                    .model_fingerprint = fingerprint_,
                                    .checkpoint_fingerprint = checkpoint_fingerprint_},
                         .stores = stores,
                         .num_threads = options_.num_threads,
                         .counters = counters});
}

void LoadedStage::AdoptPacked(const std::vector<WeightStore*>& stores, PackedCounters* counters) {
  std::unique_ptr<PackedCache> made = MakePackedCache(stores, counters);
  PackedCache* packed = made.get();
  {
    const absl::MutexLock lock(&load_mutex_);
    total_bytes_ = 0;
    for (const WeightStore* store : stores) total_bytes_ += store->total_bytes();
    // A load that was cut off has filled stores already.
    if (packed == nullptr || packed_ != nullptr || load_cancelled_) return;
    packed_ = std::move(made);
  }
  packed->Adopt();
}

absl::Status LoadedStage::Load(LoaderClient* client, PackedCounters* counters) {
  const absl::Time begin = SteadyNow();
  WeightLoaderOptions options;
  options.client = client;
  options.transport = transport_.get();
  for (int device = 0; device < executor_->num_devices(); ++device) {
    options.stores.push_back(&executor_->weight_store(device));
  }
  AdoptPacked(options.stores, counters);
  options.fingerprint = fingerprint_;
  options.checkpoint_fingerprint = checkpoint_fingerprint_;
  options.stage_index = plan_.stage_index();
  options.max_slices_per_call = options_.max_slices_per_load;
  WeightLoader* loader = nullptr;
  {
    const absl::MutexLock lock(&load_mutex_);
    if (load_cancelled_) return absl::CancelledError("the worker is stopping");
    loader_ = std::make_unique<WeightLoader>(std::move(options));
    loader = loader_.get();
  }
  absl::Status status = loader->Run();
  std::unique_ptr<WeightLoader> finished;
  {
    const absl::MutexLock lock(&load_mutex_);
    finished = std::move(loader_);
    loaded_bytes_ = finished->loaded_bytes();
  }
  RETURN_IF_ERROR(status);
  finished.reset();
  ReturnFreeMemory();
  const absl::Time weights_end = SteadyNow();
  if (plan_.stage_index() + 1 == plan_.num_stages()) RETURN_IF_ERROR(LoadVocabulary(client));
  ASSIGN_OR_RETURN(memory_, BudgetMemory());
  BATON_LOG(INFO) << "loaded: weights " << absl::ToInt64Milliseconds(weights_end - begin)
                  << " ms, then vocabulary and rehearsal "
                  << absl::ToInt64Milliseconds(SteadyNow() - weights_end) << " ms";
  const absl::MutexLock lock(&load_mutex_);
  if (packed_ != nullptr) packed_->KeepMissing();
  loaded_ = true;
  weight_bytes_ = memory_.weight_bytes;
  kv_block_bytes_ = memory_.kv_block_bytes;
  return absl::OkStatus();
}

absl::Status LoadedStage::LoadVocabulary(LoaderClient* client) {
  absl::StatusOr<std::vector<std::string>> tokens =
      client->GetVocabulary(absl::Now() + kVocabularyLimit);
  if (absl::IsNotFound(tokens.status()) || absl::IsInvalidArgument(tokens.status()) ||
      absl::IsUnimplemented(tokens.status())) {
    BATON_LOG(WARNING) << "no structured output: " << tokens.status().message();
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(tokens.status());
  tokens->resize(std::min(tokens->size(), vocab_size_));
  executor_->SetVocabulary(
      std::make_shared<const structured::VocabularyTrie>(*tokens, vocab_size_));
  return absl::OkStatus();
}

void LoadedStage::CancelLoad() {
  const absl::MutexLock lock(&load_mutex_);
  load_cancelled_ = true;
  if (loader_ != nullptr) loader_->Cancel();
  if (packed_ != nullptr) packed_->Cancel();
}

void LoadedStage::NoteStep() {
  const absl::MutexLock lock(&load_mutex_);
  if (packed_ != nullptr) packed_->NoteStep();
}

absl::StatusOr<MemoryPlan> LoadedStage::BudgetMemory() {
  uint64_t evictable_bytes = 0;
  {
    const absl::MutexLock lock(&load_mutex_);
    if (packed_ != nullptr) evictable_bytes = packed_->evictable_bytes();
  }
  ASSIGN_OR_RETURN(const MemoryPlan plan,
                   executor_->PlanMemory({.memory_bytes = options_.memory_bytes,
                                          .kv_cache_bytes = options_.kv_cache_bytes,
                                          .utilization = options_.memory_utilization,
                                          .wanted_blocks = plan_.num_blocks_override(),
                                          .evictable_weight_bytes = evictable_bytes}));
  BATON_LOG(INFO) << "memory: weights " << plan.weight_bytes << ", workspace "
                  << plan.workspace_bytes << ", KV cache of up to " << plan.num_blocks
                  << " blocks of " << plan.kv_block_bytes << " bytes";
  return plan;
}

bool LoadedStage::is_loaded() const {
  const absl::MutexLock lock(&load_mutex_);
  return loaded_;
}

bool LoadedStage::Fits(const v1::StagePlan& plan) const {
  return plan.SerializeAsString() == plan_.SerializeAsString();
}

v1::StageReady LoadedStage::MakeReady() const {
  v1::StageReady ready;
  ready.set_num_blocks(static_cast<uint32_t>(memory_.num_blocks));
  ready.set_weight_bytes(memory_.weight_bytes);
  for (int rank = 0; rank < options_.num_ranks; ++rank) {
    v1::RankAddress* address = ready.add_addresses();
    address->set_rank(static_cast<uint32_t>(rank));
    // Ranks of one process share its UCX worker; frames name the rank.
    address->set_ucx_address(transport_->address());
  }
  return ready;
}

absl::Status LoadedStage::BeginEpoch(const v1::Topology& topology, uint64_t local_epoch) {
  const absl::Time deadline = SteadyNow() + options_.connect_timeout;
  AbandonEpoch(absl::CancelledError(absl::StrCat("epoch ", topology.epoch(), " begins")));
  LinkEpoch epoch = {.local_epoch = local_epoch};
  ASSIGN_OR_RETURN(epoch.frame_epoch, FrameEpoch(topology.scheduler_nonce(), topology.epoch()));
  epoch.next_addresses.resize(static_cast<size_t>(topology.next_stage_size()));
  for (const v1::RankAddress& address : topology.next_stage()) {
    if (address.rank() >= epoch.next_addresses.size()) {
      return absl::InvalidArgumentError(absl::StrCat("the topology names rank ", address.rank(),
                                                     " of ", epoch.next_addresses.size()));
    }
    epoch.next_addresses[address.rank()] = address.ucx_address();
  }
  for (const v1::RankAddress& address : topology.first_stage()) {
    if (address.rank() == 0) epoch.first_address = address.ucx_address();
  }
  RETURN_IF_ERROR(executor_->BeginEpoch({.epoch = local_epoch,
                                         .num_blocks = topology.num_blocks(),
                                         .source = links_->states().source(),
                                         .sink = links_->states().sink(),
                                         .token_source = links_->tokens().source(),
                                         .token_sink = links_->tokens().sink(),
                                         .deadline = deadline}));
  const GraphSummary graphs = executor_->graphs();
  // Making graphs may take an executor longer than a connection may.
  RETURN_IF_ERROR(links_->BeginEpoch(epoch, deadline + graphs.time));
  const absl::MutexLock lock(&load_mutex_);
  num_blocks_ = topology.num_blocks();
  num_graphs_ = graphs.num_graphs;
  num_refused_graphs_ = graphs.num_refused;
  return absl::OkStatus();
}

void LoadedStage::AbandonEpoch(const absl::Status& reason) {
  if (links_ != nullptr) links_->Abort(reason);
}

void LoadedStage::Describe(StageSnapshot* snapshot) const {
  snapshot->stage_index = plan_.stage_index();
  snapshot->num_stages = plan_.num_stages();
  snapshot->layer_begin = plan_.layers().begin();
  snapshot->layer_end = plan_.layers().end();
  snapshot->num_ranks = plan_.num_ranks();
  snapshot->backend = executor_->backend_name();
  snapshot->transport = transport_->counters();
  snapshot->last_look = transport_->last_look();
  snapshot->constraint_bytes = executor_->constraint_bytes();
  snapshot->wait = links_->OldestOf(executor_->neighbour_waits());
  const absl::MutexLock lock(&load_mutex_);
  snapshot->load_total_bytes = total_bytes_;
  snapshot->loaded_bytes = loader_ != nullptr ? loader_->loaded_bytes() : loaded_bytes_;
  if (packed_ != nullptr) {
    packed_->Describe(&snapshot->packed);
    snapshot->loaded_bytes = std::max(snapshot->loaded_bytes, packed_->found_bytes());
  }
  snapshot->num_total_blocks = num_blocks_;
  snapshot->num_graphs = num_graphs_;
  snapshot->num_refused_graphs = num_refused_graphs_;
  snapshot->weight_bytes = weight_bytes_;
  snapshot->kv_bytes = num_blocks_ * kv_block_bytes_;
}

}  // namespace baton::stage
