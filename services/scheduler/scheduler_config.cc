#include "services/scheduler/scheduler_config.h"

#include <random>
#include <string>

#include "absl/strings/str_cat.h"

#include "common/model/eos_tokens.h"
#include "common/model/speculative_config.h"
#include "common/model/stage_floor.h"
#include "common/model/weight_inventory.h"
#include "common/status/status_macros.h"
#include "services/scheduler/pipeline/stage_plan.h"

namespace baton::scheduler {
namespace {

constexpr uint32_t kBlockTokens = 64;
constexpr size_t kSecretBytes = 32;

absl::Status CheckFlag(const char* name, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--", name, " is ", value, "; allowed: ", low, " to ", high));
}

absl::Status CheckFlags(const SchedulerConfig& config) {
  if (config.model.empty()) return absl::InvalidArgumentError("--model is missing");
  RETURN_IF_ERROR(CheckFlag("pipeline-parallel-size", config.pipeline_parallel_size, 1, 1024));
  RETURN_IF_ERROR(CheckFlag("tensor-parallel-size", config.tensor_parallel_size, 1, 1024));
  RETURN_IF_ERROR(CheckFlag("max-model-len", config.max_model_len, 0, 1 << 24));
  RETURN_IF_ERROR(CheckFlag("max-num-batched-tokens", config.max_num_batched_tokens, 1, 1 << 20));
  RETURN_IF_ERROR(
      CheckFlag("long-prefill-token-threshold", config.long_prefill_token_threshold, 0, 1 << 20));
  RETURN_IF_ERROR(CheckFlag("max-num-seqs", config.max_num_seqs, 1, 1 << 16));
  RETURN_IF_ERROR(CheckFlag("max-num-queued-reqs", config.max_num_queued_reqs, 1, 1 << 20));
  RETURN_IF_ERROR(
      CheckFlag("max-num-queued-tokens", config.max_num_queued_tokens, 0, int64_t{1} << 40));
  if (config.max_queue_wait <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError("--max-queue-wait must be more than 0");
  }
  if (config.priority_aging <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError("--priority-aging must be more than 0");
  }
  RETURN_IF_ERROR(
      CheckFlag("num-gpu-blocks-override", config.num_gpu_blocks_override, 0, UINT32_MAX));
  RETURN_IF_ERROR(CheckFlag("max-steps-in-flight", config.max_steps_in_flight, 0, 1008));
  RETURN_IF_ERROR(CheckFlag("lookahead-steps", config.lookahead_steps, 0, 16));
  if (!(config.watermark >= 0 && config.watermark < 1)) {  // also of NaN
    return absl::InvalidArgumentError(
        absl::StrCat("--watermark is ", config.watermark, "; allowed: from 0 to less than 1"));
  }
  if (config.heartbeat_timeout < absl::Milliseconds(500)) {
    return absl::InvalidArgumentError(
        "--heartbeat-timeout is below 500ms; heartbeats come every 250ms");
  }
  if (config.reader_stall_timeout <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError("--reader-stall-timeout must be more than 0");
  }
  if (config.max_step_time < absl::ZeroDuration()) {
    return absl::InvalidArgumentError("--max-step-time is negative");
  }
  if (config.step_timeout < config.heartbeat_timeout) {
    return absl::InvalidArgumentError("--step-timeout is below --heartbeat-timeout");
  }
  return absl::OkStatus();
}

// What nobody outside can guess, another one in each process.
std::string MakeSecret() {
  std::random_device random;  // the operating system's
  std::string secret;
  while (secret.size() < kSecretBytes) secret.push_back(static_cast<char>(random()));
  return secret;
}

absl::StatusOr<v1::DataType> ComputeType(const std::string& dtype) {
  if (dtype == "auto" || dtype == "bfloat16") return v1::DATA_TYPE_BFLOAT16;
  if (dtype == "float32") return v1::DATA_TYPE_FLOAT32;
  return absl::InvalidArgumentError(
      absl::StrCat("--dtype is \"", dtype, "\"; allowed: auto, bfloat16, float32"));
}

absl::StatusOr<uint32_t> MaxModelLen(const SchedulerConfig& config, const ModelConfig& model) {
  if (config.max_model_len == 0) return static_cast<uint32_t>(model.max_positions);
  if (config.max_model_len < 2 || config.max_model_len > model.max_positions) {
    return absl::InvalidArgumentError(absl::StrCat("--max-model-len is ", config.max_model_len,
                                                   "; allowed: 2 to ", model.max_positions,
                                                   " (max_position_embeddings of the model)"));
  }
  return static_cast<uint32_t>(config.max_model_len);
}

// What steps cost before any was measured.
absl::StatusOr<StepCostOptions> StepCostPrior(const ModelConfig& model, int num_stages,
                                              int num_ranks) {
  RETURN_IF_ERROR(CheckTensorParallelSize(model, num_ranks));
  ASSIGN_OR_RETURN(const std::vector<StageShape> shapes, SplitLayers(model, num_stages));
  StepCostOptions options{.expert_share = ExpertShare(model)};
  for (const StageShape& shape : shapes) {
    const StageFloor floor = FloorOfStage(model, shape, num_ranks, DeviceSpeed());
    options.prior.push_back(
        {.values = {floor.step, floor.experts, floor.token, floor.decode_kv, floor.chunk_kv,
                    floor.chunk_pair, floor.sampled, floor.absorbed_pair}});
  }
  return options;
}

}  // namespace

absl::StatusOr<ResolvedGroup> ResolveGroup(const SchedulerConfig& config) {
  RETURN_IF_ERROR(CheckFlags(config));
  ASSIGN_OR_RETURN(const v1::DataType compute_type, ComputeType(config.dtype));
  ASSIGN_OR_RETURN(const std::string config_json, ReadModelConfigText(config.model));
  ASSIGN_OR_RETURN(const ModelConfig model, ParseModelConfig(config_json));
  ASSIGN_OR_RETURN(const uint32_t max_model_len, MaxModelLen(config, model));
  ASSIGN_OR_RETURN(const uint32_t num_speculative_tokens,
                   ParseSpeculativeConfig(config.speculative_config, model));

  ResolvedGroup group;
  group.schedule.block_tokens = kBlockTokens;
  group.schedule.max_step_tokens = static_cast<uint32_t>(config.max_num_batched_tokens);
  group.schedule.max_running = static_cast<uint32_t>(config.max_num_seqs);
  group.schedule.max_waiting = static_cast<uint32_t>(config.max_num_queued_reqs);
  if (config.max_num_queued_tokens > 0) {
    group.schedule.max_waiting_tokens = static_cast<uint64_t>(config.max_num_queued_tokens);
  }
  if (config.max_queue_wait < absl::InfiniteDuration()) {
    group.schedule.max_wait = absl::ToInt64Microseconds(config.max_queue_wait);
  }
  group.schedule.priority_aging = absl::ToInt64Microseconds(config.priority_aging);
  group.schedule.max_steps_in_flight = static_cast<uint32_t>(
      config.max_steps_in_flight > 0 ? config.max_steps_in_flight : config.pipeline_parallel_size);
  group.schedule.lookahead_steps = static_cast<uint32_t>(config.lookahead_steps);
  group.schedule.num_speculative_tokens = num_speculative_tokens;
  group.schedule.max_model_len = max_model_len;
  group.schedule.prefix_caching = config.enable_prefix_caching;
  group.schedule.cache_secret = MakeSecret();
  group.schedule.watermark = config.watermark;
  group.schedule.vocab_size = static_cast<uint32_t>(model.vocab_size);
  group.schedule.max_chunk_tokens = static_cast<uint32_t>(config.long_prefill_token_threshold);
  group.schedule.max_step_seconds = absl::ToDoubleSeconds(config.max_step_time);
  ASSIGN_OR_RETURN(group.schedule.step_cost,
                   StepCostPrior(model, static_cast<int>(config.pipeline_parallel_size),
                                 static_cast<int>(config.tensor_parallel_size)));
  ASSIGN_OR_RETURN(group.schedule.eos_token_ids, ReadEosTokenIds(model, config.model));

  GroupShape shape;
  shape.num_stages = static_cast<uint32_t>(config.pipeline_parallel_size);
  shape.num_ranks = static_cast<uint32_t>(config.tensor_parallel_size);
  shape.compute_type = compute_type;
  shape.block_tokens = kBlockTokens;
  shape.max_model_len = max_model_len;
  shape.max_step_tokens = group.schedule.max_step_tokens;
  shape.max_step_sequences = group.schedule.max_running;
  shape.max_steps_in_flight = group.schedule.max_steps_in_flight + group.schedule.lookahead_steps;
  shape.num_blocks_override = static_cast<uint32_t>(config.num_gpu_blocks_override);
  shape.num_speculative_tokens = num_speculative_tokens;
  shape.model_fingerprint = ModelFingerprint(config_json);
  ASSIGN_OR_RETURN(group.plans, BuildStagePlans(model, shape));
  return group;
}

}  // namespace baton::scheduler
