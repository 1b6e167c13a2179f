#include "services/stage_worker/metrics/stage_metrics.h"

#include <utility>

namespace baton::stage {
namespace {

using RegistryPtr = std::shared_ptr<prometheus::Registry>;

prometheus::Gauge& AddGauge(const RegistryPtr& registry, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(*registry).Add({});
}

prometheus::Counter& AddCounter(const RegistryPtr& registry, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(*registry).Add({});
}

prometheus::Histogram& AddSeconds(const RegistryPtr& registry, const char* name, const char* help) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(*registry).Add(
      {}, prometheus::Histogram::BucketBoundaries{0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001,
                                                  0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2, 10});
}

constexpr double kSecondsPerMicrosecond = 1e-6;

}  // namespace

StageMetrics::StageMetrics(RegistryPtr registry)
    : registry_(std::move(registry)),
      steps_(AddCounter(registry_, "baton_stage_steps_total", "Steps done.")),
      memberships_lost_(AddCounter(registry_, "baton_stage_memberships_lost_total",
                                   "Times that this worker left the group without being asked.")),
      queue_seconds_(AddSeconds(registry_, "baton_stage_step_queue_seconds",
                                "From a step's arrival to the start of its work.")),
      receive_seconds_(AddSeconds(registry_, "baton_stage_step_receive_seconds",
                                  "Waiting for the previous stage's hidden states.")),
      compute_seconds_(
          AddSeconds(registry_, "baton_stage_step_compute_seconds", "Computing a step.")),
      send_seconds_(AddSeconds(registry_, "baton_stage_step_send_seconds",
                               "Handing hidden states to the transport.")),
      gap_seconds_(AddSeconds(registry_, "baton_stage_gap_seconds",
                              "From the end of a step to the start of the next one's work while "
                              "sequences ran or waited: the stage had nothing to compute.")),
      index_(AddGauge(registry_, "baton_stage_index", "Which stage this is, from 0.")),
      layers_(AddGauge(registry_, "baton_stage_layers", "Layers of the stage; 0: no plan yet.")),
      ranks_(AddGauge(registry_, "baton_stage_ranks", "Tensor-parallel ranks.")),
      epoch_(AddGauge(registry_, "baton_stage_epoch", "Current epoch of the group.")),
      joined_(AddGauge(registry_, "baton_stage_joined", "1 while this stage takes steps.")),
      sequences_(AddGauge(registry_, "baton_stage_sequences", "Sequences known.")),
      used_blocks_(AddGauge(registry_, "baton_stage_kv_blocks_used",
                            "Blocks of KV cache that known sequences hold.")),
      total_blocks_(
          AddGauge(registry_, "baton_stage_kv_blocks_total", "Blocks of KV cache in all.")),
      graphs_(AddGauge(registry_, "baton_stage_graphs",
                       "Captured graphs of steps that each GPU of the stage has.")),
      graphs_refused_(AddGauge(registry_, "baton_stage_graphs_refused",
                               "Graphs for which a GPU had no memory: steps of their sizes are "
                               "launched operation by operation, which is slower.")),
      weight_bytes_(AddGauge(registry_, "baton_stage_weight_bytes", "Resident weights.")),
      kv_bytes_(AddGauge(registry_, "baton_stage_kv_bytes", "KV cache, all ranks.")),
      constraint_bytes_(AddGauge(registry_, "baton_stage_constraint_bytes",
                                 "Masks, compiled constraints and their states, of structured "
                                 "output.")),
      packed_mapped_bytes_(AddGauge(registry_, "baton_stage_packed_mapped_bytes",
                                    "Files of packed weights that are mapped.")),
      packed_adopt_seconds_(
          AddGauge(registry_, "baton_stage_packed_adopt_seconds",
                   "Time that finding, checking and mapping packed weights took.")),
      loaded_bytes_(AddGauge(registry_, "baton_stage_loaded_bytes",
                             "Bytes of the checkpoint received so far.")),
      load_total_bytes_(AddGauge(registry_, "baton_stage_load_total_bytes",
                                 "Bytes of the checkpoint that this stage needs.")),
      packed_adopted_{AddCounter(registry_, "baton_stage_packed_adopted_total",
                                 "Devices whose packed weights were found on disk.")},
      packed_missed_{AddCounter(registry_, "baton_stage_packed_missed_total",
                                "Devices whose packed weights were not, and had to be loaded.")},
      packed_damaged_{AddCounter(registry_, "baton_stage_packed_damaged_total",
                                 "Files of packed weights that were found damaged at a start, and "
                                 "removed: the stage loaded.")},
      packed_written_{AddCounter(registry_, "baton_stage_packed_written_total",
                                 "Files of packed weights written for the next start.")},
      frames_sent_{AddCounter(registry_, "baton_stage_frames_sent_total", "UCX frames sent.")},
      bytes_sent_{AddCounter(registry_, "baton_stage_frame_bytes_sent_total",
                             "Payload of UCX frames sent.")},
      frames_received_{
          AddCounter(registry_, "baton_stage_frames_received_total", "UCX frames received.")},
      bytes_received_{
          AddCounter(registry_, "baton_stage_frame_bytes_received_total",
                     "Payload of UCX frames received, and weights copied where they were lent.")},
      frames_refused_{AddCounter(registry_, "baton_stage_frames_refused_total",
                                 "UCX frames refused: checksum, epoch, slot, length.")} {}

void StageMetrics::OnStep(const StepResult& result) {
  steps_.Increment();
  queue_seconds_.Observe(result.queue_us * kSecondsPerMicrosecond);
  receive_seconds_.Observe(result.receive_us * kSecondsPerMicrosecond);
  compute_seconds_.Observe(result.compute_us * kSecondsPerMicrosecond);
  send_seconds_.Observe(result.send_us * kSecondsPerMicrosecond);
  if (result.gap_us.has_value()) gap_seconds_.Observe(*result.gap_us * kSecondsPerMicrosecond);
}

void StageMetrics::OnMembershipLost() { memberships_lost_.Increment(); }

void StageMetrics::Follower::Follow(uint64_t now) {
  counter.Increment(static_cast<double>(now >= last ? now - last : now));
  last = now;
}

void StageMetrics::Update(const StageSnapshot& snapshot) {
  index_.Set(snapshot.stage_index);
  layers_.Set(snapshot.layer_end - snapshot.layer_begin);
  ranks_.Set(snapshot.num_ranks);
  epoch_.Set(static_cast<double>(snapshot.epoch));
  joined_.Set(snapshot.joined ? 1 : 0);
  sequences_.Set(snapshot.num_sequences);
  used_blocks_.Set(snapshot.num_used_blocks);
  total_blocks_.Set(snapshot.num_total_blocks);
  graphs_.Set(static_cast<double>(snapshot.num_graphs));
  graphs_refused_.Set(static_cast<double>(snapshot.num_refused_graphs));
  weight_bytes_.Set(static_cast<double>(snapshot.weight_bytes));
  kv_bytes_.Set(static_cast<double>(snapshot.kv_bytes));
  constraint_bytes_.Set(static_cast<double>(snapshot.constraint_bytes));
  packed_mapped_bytes_.Set(static_cast<double>(snapshot.packed.mapped_bytes));
  packed_adopt_seconds_.Set(snapshot.packed.adopt_seconds);
  loaded_bytes_.Set(static_cast<double>(snapshot.loaded_bytes));
  load_total_bytes_.Set(static_cast<double>(snapshot.load_total_bytes));
  const absl::MutexLock lock(&mutex_);
  packed_adopted_.Follow(snapshot.packed.num_adopted);
  packed_missed_.Follow(snapshot.packed.num_missed);
  packed_damaged_.Follow(snapshot.packed.num_damaged);
  packed_written_.Follow(snapshot.packed.num_written);
  frames_sent_.Follow(snapshot.transport.frames_sent);
  bytes_sent_.Follow(snapshot.transport.bytes_sent);
  frames_received_.Follow(snapshot.transport.frames_received);
  bytes_received_.Follow(snapshot.transport.bytes_received);
  frames_refused_.Follow(snapshot.transport.frames_refused);
}

}  // namespace baton::stage
