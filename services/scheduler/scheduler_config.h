// What a scheduler process is told, and what it makes of it with the model's config.json.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/model/model_config.h"
#include "common/rpc/reader_limits.h"
#include "common/rpc/rpc_identity.h"
#include "protos/baton/v1/stage.pb.h"
#include "services/scheduler/core/schedule.h"

namespace baton::scheduler {

// As given by flags; 0 means "from the model" or "from the others" where it says so.
struct SchedulerConfig {
  std::string model;  // directory with config.json
  int64_t pipeline_parallel_size = 1;
  int64_t tensor_parallel_size = 1;
  int64_t max_model_len = 0;  // 0: the model's
  std::string dtype = "auto";
  int64_t max_num_batched_tokens = 2048;
  int64_t long_prefill_token_threshold = 0;  // 0: max_num_batched_tokens
  absl::Duration max_step_time;              // 0: prompts are not cut for it
  int64_t max_num_seqs = 256;
  int64_t max_num_queued_reqs = 1024;
  int64_t max_num_queued_tokens = 4 << 20;  // 0: as many as the requests have
  absl::Duration max_queue_wait = absl::Seconds(60);
  absl::Duration priority_aging = absl::Seconds(10);
  int64_t num_gpu_blocks_override = 0;  // 0: as memory allows
  int64_t max_steps_in_flight = 0;      // 0: the pipeline-parallel size
  int64_t lookahead_steps = 1;          // ordered beyond these; 0: none
  std::string speculative_config;       // JSON; empty: nothing is guessed
  bool enable_prefix_caching = true;
  double watermark = 0.01;  // share of the KV blocks, in [0, 1)
  absl::Duration unready_grace = absl::Seconds(30);
  absl::Duration reader_stall_timeout = kReaderStallTimeout;
  absl::Duration heartbeat_timeout = absl::Seconds(1);
  absl::Duration step_timeout = absl::Seconds(60);
  std::string listen_address = "127.0.0.1:50052";
  std::string metrics_address = "127.0.0.1:9092";
  std::string ports_file;
  absl::Duration drain_timeout = absl::Seconds(30);
  std::shared_ptr<const RpcIdentity> identity = RpcIdentity::Plaintext();
};

// A group that can be served.
struct ResolvedGroup {
  ScheduleOptions schedule;
  std::vector<v1::StagePlan> plans;
};

// Reads the model's config.json and generation_config.json and fits the two together. Errors:
// NotFound or InvalidArgument naming the flag or the field.
absl::StatusOr<ResolvedGroup> ResolveGroup(const SchedulerConfig& config);

}  // namespace baton::scheduler
