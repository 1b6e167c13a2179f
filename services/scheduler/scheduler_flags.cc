#include "services/scheduler/scheduler_flags.h"

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"

#include "common/config/command_line.h"
#include "common/config/token_count.h"
#include "common/pod_place/pod_place.h"
#include "common/rpc/identity_flags.h"
#include "common/rpc/reader_limits.h"

ABSL_FLAG(std::string, model, "", "Directory of the model: its config.json gives every size.");
ABSL_FLAG(int64_t, pipeline_parallel_size, 0,
          "Number of stages, one stage-worker each; 0: as many as the LeaderWorkerSet's group has "
          "pods for (LWS_GROUP_SIZE), 1 without one.");
ABSL_FLAG(bool, leader_is_stage, false,
          "The leader of the LeaderWorkerSet runs stage 0; otherwise its first worker does.");
ABSL_FLAG(int64_t, tensor_parallel_size, 1, "Ranks of every stage.");
ABSL_FLAG(baton::TokenCount, max_model_len, {},
          "Tokens of prompt and answer together: 32768, 32k or 32K; auto: the model's.");
ABSL_FLAG(std::string, dtype, "auto", "Type of activations: auto, bfloat16 or float32.");
ABSL_FLAG(int64_t, max_num_batched_tokens, 2048, "Most tokens of one step.");
ABSL_FLAG(int64_t, long_prefill_token_threshold, 0,
          "Most tokens of one prompt in a step; 0: --max-num-batched-tokens alone.");
ABSL_FLAG(absl::Duration, max_step_time, absl::ZeroDuration(),
          "Prompts are cut so that a step is predicted to take no longer, though not below an "
          "eighth of --max-num-batched-tokens. It bounds how long decodes wait for a prompt beside "
          "them, and costs throughput; 0: not cut.");
ABSL_FLAG(int64_t, max_num_seqs, 256, "Most sequences that run at a time.");
ABSL_FLAG(int64_t, max_num_queued_reqs, 1024, "Most requests that wait; more are refused.");
ABSL_FLAG(int64_t, max_num_queued_tokens, 4 << 20,
          "Most tokens of the requests that wait; more are refused. 0: no bound.");
ABSL_FLAG(absl::Duration, max_queue_wait, absl::Seconds(60),
          "A request that would wait longer before its first step is refused at once, with the "
          "time after which to try again.");
ABSL_FLAG(absl::Duration, priority_aging, absl::Seconds(10),
          "Requests of a priority that got no turn for so long get one before better ones.");
ABSL_FLAG(int64_t, num_gpu_blocks_override, 0,
          "Blocks of KV cache (64 tokens each); 0: as many as the memory of the stages allows.");
ABSL_FLAG(bool, enable_prefix_caching, true,
          "Sequences that begin with the same tokens share what is computed of them.");
ABSL_FLAG(double, watermark, 0.01,
          "Share of the KV blocks that stays free when a sequence begins while others run.");
ABSL_FLAG(int64_t, max_steps_in_flight, 0,
          "Steps between first and last stage at a time; 0: the pipeline-parallel size.");
ABSL_FLAG(int64_t, lookahead_steps, 1,
          "Steps that the stages get beyond these, so that none waits for its next command; their "
          "tokens go from the last stage to the first. 0: off.");
ABSL_FLAG(std::string, speculative_config, "",
          "Speculative decoding, as JSON: {\"method\":\"mtp\",\"num_speculative_tokens\":1}. The "
          "model's MTP module guesses tokens, and the next step checks them; answers are the same, "
          "bit for bit. No step is ordered before its tokens are known then (--lookahead-steps).");
ABSL_FLAG(absl::Duration, unready_grace, absl::Seconds(30),
          "Requests wait this long for an incomplete group before they are refused.");
ABSL_FLAG(absl::Duration, reader_stall_timeout, baton::kReaderStallTimeout,
          "A request whose caller takes none of its tokens is not computed on once 1,024 wait; it "
          "is cancelled if that lasts for so long.");
ABSL_FLAG(absl::Duration, heartbeat_timeout, absl::Seconds(1),
          "A stage that is silent for this long is lost; so is one that has waited as long, but at "
          "least 1s, for what a neighbour has sent: a frame may be sent again twice before.");
ABSL_FLAG(absl::Duration, step_timeout, absl::Seconds(60),
          "A stage that has work and finishes no step for this long is lost; has to be above the "
          "stage-workers' own --step-timeout (30s by default).");
ABSL_FLAG(std::string, listen_address, "127.0.0.1:50052", "Where gRPC is served; port 0: any.");
ABSL_FLAG(std::string, metrics_address, "127.0.0.1:9092",
          "Where /metrics and /health are served; empty: nowhere.");
ABSL_FLAG(std::string, ports_file, "", "File to write the bound ports to, as JSON.");
ABSL_FLAG(absl::Duration, drain_timeout, absl::Seconds(30),
          "On SIGTERM, running requests get this long to end.");

namespace baton::scheduler {
namespace {

int64_t NumStages() {
  const int64_t given = absl::GetFlag(FLAGS_pipeline_parallel_size);
  if (given != 0) return given;
  const absl::StatusOr<PodPlace> place =
      ReadPodPlace([](const char* name) { return std::getenv(name); });
  if (!place.ok()) {
    std::cerr << "baton-scheduler: " << place.status().message() << "\n";
    std::exit(2);
  }
  return StagesOfGroup(*place, absl::GetFlag(FLAGS_leader_is_stage)).value_or(1);
}

std::shared_ptr<const RpcIdentity> Identity() {
  absl::StatusOr<std::shared_ptr<const RpcIdentity>> identity = ReadRpcIdentity("scheduler");
  if (!identity.ok()) {
    std::cerr << "baton-scheduler: " << identity.status().message() << "\n";
    std::exit(2);
  }
  return *std::move(identity);
}

}  // namespace

SchedulerConfig ParseSchedulerFlags(int argc, char** argv) {
  const std::vector<std::string> rest = ParseCommandLine(
      {.name = "baton-scheduler",
       .summary = "Forms the batches of one group of stage-workers and keeps its sequences.",
       .example = "baton-scheduler --model /models/deepseek-r1 --pipeline-parallel-size 2 "
                  "--tensor-parallel-size 8 --listen-address 0.0.0.0:50052"},
      argc, argv);
  if (!rest.empty()) {
    std::cerr << "baton-scheduler: unexpected argument \"" << rest.front() << "\"\n";
    std::exit(2);
  }
  SchedulerConfig config;
  config.pipeline_parallel_size = NumStages();
  config.model = absl::GetFlag(FLAGS_model);
  config.tensor_parallel_size = absl::GetFlag(FLAGS_tensor_parallel_size);
  config.max_model_len = absl::GetFlag(FLAGS_max_model_len).value;
  config.dtype = absl::GetFlag(FLAGS_dtype);
  config.max_num_batched_tokens = absl::GetFlag(FLAGS_max_num_batched_tokens);
  config.long_prefill_token_threshold = absl::GetFlag(FLAGS_long_prefill_token_threshold);
  config.max_step_time = absl::GetFlag(FLAGS_max_step_time);
  config.max_num_seqs = absl::GetFlag(FLAGS_max_num_seqs);
  config.max_num_queued_reqs = absl::GetFlag(FLAGS_max_num_queued_reqs);
  config.max_num_queued_tokens = absl::GetFlag(FLAGS_max_num_queued_tokens);
  config.max_queue_wait = absl::GetFlag(FLAGS_max_queue_wait);
  config.priority_aging = absl::GetFlag(FLAGS_priority_aging);
  config.num_gpu_blocks_override = absl::GetFlag(FLAGS_num_gpu_blocks_override);
  config.enable_prefix_caching = absl::GetFlag(FLAGS_enable_prefix_caching);
  config.watermark = absl::GetFlag(FLAGS_watermark);
  config.max_steps_in_flight = absl::GetFlag(FLAGS_max_steps_in_flight);
  config.lookahead_steps = absl::GetFlag(FLAGS_lookahead_steps);
  config.speculative_config = absl::GetFlag(FLAGS_speculative_config);
  config.unready_grace = absl::GetFlag(FLAGS_unready_grace);
  config.reader_stall_timeout = absl::GetFlag(FLAGS_reader_stall_timeout);
  config.heartbeat_timeout = absl::GetFlag(FLAGS_heartbeat_timeout);
  config.step_timeout = absl::GetFlag(FLAGS_step_timeout);
  config.listen_address = absl::GetFlag(FLAGS_listen_address);
  config.metrics_address = absl::GetFlag(FLAGS_metrics_address);
  config.ports_file = absl::GetFlag(FLAGS_ports_file);
  config.drain_timeout = absl::GetFlag(FLAGS_drain_timeout);
  config.identity = Identity();
  return config;
}

}  // namespace baton::scheduler
