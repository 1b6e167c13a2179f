#include "services/scheduler/scheduler_metrics.h"

#include <string>
#include <utility>

namespace baton::scheduler {
namespace {

using Buckets = prometheus::Histogram::BucketBoundaries;

prometheus::Gauge& AddGauge(const std::shared_ptr<prometheus::Registry>& registry, const char* name,
                            const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(*registry).Add({});
}

prometheus::Counter& AddCounter(const std::shared_ptr<prometheus::Registry>& registry,
                                const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(*registry).Add({});
}

prometheus::Histogram& AddHistogram(const std::shared_ptr<prometheus::Registry>& registry,
                                    const char* name, const char* help, const Buckets& buckets) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(*registry).Add({}, buckets);
}

}  // namespace

SchedulerMetrics::SchedulerMetrics(std::shared_ptr<prometheus::Registry> registry)
    : registry_(std::move(registry)),
      running_(AddGauge(registry_, "baton_scheduler_running_sequences", "Sequences that run.")),
      waiting_(AddGauge(registry_, "baton_scheduler_waiting_sequences", "Sequences that wait.")),
      paused_(AddGauge(registry_, "baton_scheduler_paused_sequences",
                       "Sequences that gave their place to a key with fewer than its share.")),
      suspended_(AddGauge(registry_, "baton_scheduler_suspended_sequences",
                          "Sequences that are not computed on because their caller does not take "
                          "their tokens.")),
      queue_tokens_(AddGauge(registry_, "baton_scheduler_queue_tokens",
                             "Tokens of prompt and answer so far of the sequences that wait.")),
      predicted_wait_(AddGauge(registry_, "baton_scheduler_predicted_wait_seconds",
                               "Time that all that waits is expected to take.")),
      short_step_(AddGauge(registry_, "baton_scheduler_short_step_seconds",
                           "What the next step is kept to, because a request of a key that does "
                           "not flood the group may come; 0: it is as long as it can be.")),
      used_blocks_(
          AddGauge(registry_, "baton_scheduler_kv_blocks_used",
                   "Blocks of KV cache that sequences hold; what is only cached is free.")),
      total_blocks_(AddGauge(registry_, "baton_scheduler_kv_blocks_total",
                             "Blocks of KV cache of the smallest stage; 0 while incomplete.")),
      epoch_(AddGauge(registry_, "baton_scheduler_epoch", "Current epoch of the group.")),
      group_ready_(AddGauge(registry_, "baton_scheduler_group_ready",
                            "1 while every stage is in the current epoch.")),
      pauses_(AddCounter(registry_, "baton_scheduler_pauses_total",
                         "Times that a sequence gave its place to another key.")),
      suspensions_(AddCounter(registry_, "baton_scheduler_suspensions_total",
                              "Times that a sequence was left out of the steps because its caller "
                              "did not take its tokens.")),
      preemptions_(AddCounter(registry_, "baton_scheduler_preemptions_total",
                              "Sequences that gave up their blocks to be computed again.")),
      prefix_queries_(AddCounter(registry_, "baton_scheduler_prefix_cache_query_tokens_total",
                                 "Tokens looked up in the prefix cache.")),
      prefix_hits_(AddCounter(registry_, "baton_scheduler_prefix_cache_hit_tokens_total",
                              "Tokens found in the prefix cache.")),
      evicted_blocks_(AddCounter(registry_, "baton_scheduler_prefix_cache_evicted_blocks_total",
                                 "Cached blocks that were given to other sequences.")),
      steps_(AddCounter(registry_, "baton_scheduler_steps_total", "Steps done on every stage.")),
      computed_tokens_(AddCounter(registry_, "baton_scheduler_computed_tokens_total",
                                  "Tokens of prompt and answer that steps computed.")),
      generated_tokens_(AddCounter(registry_, "baton_scheduler_generated_tokens_total",
                                   "Tokens sampled for callers.")),
      refused_(prometheus::BuildCounter()
                   .Name("baton_scheduler_refused_total")
                   .Help("Requests refused, by reason.")
                   .Register(*registry_)),
      expired_(AddCounter(registry_, "baton_scheduler_expired_total",
                          "Requests ended because their deadline passed.")),
      stalled_readers_(AddCounter(registry_, "baton_scheduler_stalled_readers_total",
                                  "Requests ended because their caller took none of their tokens "
                                  "for too long.")),
      step_rows_(AddHistogram(registry_, "baton_scheduler_step_sequences", "Sequences of a step.",
                              Buckets{1, 2, 4, 8, 16, 32, 64, 128, 256, 512})),
      step_seconds_(AddHistogram(
          registry_, "baton_scheduler_step_seconds",
          "From sending a step to the last stage's report.",
          Buckets{0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10})),
      queue_seconds_(AddHistogram(
          registry_, "baton_scheduler_queue_seconds", "From submission to a sequence's first step.",
          Buckets{0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60})),
      step_cost_seconds_(
          prometheus::BuildGauge()
              .Name("baton_scheduler_step_cost_seconds")
              .Help("Fitted time of a stage for one of what `term` names, of which a step has "
                    "many: step (1), experts (part of the routed experts that it touches), token, "
                    "decode_kv, chunk_kv, chunk_pair, sampled, absorbed_pair.")
              .Register(*registry_)),
      step_cost_error_(prometheus::BuildGauge()
                           .Name("baton_scheduler_step_cost_error_ratio")
                           .Help("Running mean of |measured / predicted - 1| of a stage's steps.")
                           .Register(*registry_)),
      step_cost_expert_share_(AddGauge(registry_, "baton_scheduler_step_cost_expert_share",
                                       "Part of the routed experts that one token uses.")),
      step_cost_steps_(AddGauge(registry_, "baton_scheduler_step_cost_measured_steps",
                                "Steps whose measured times are in the fitted ones.")),
      recovery_seconds_(AddHistogram(
          registry_, "baton_scheduler_recovery_seconds",
          "From the loss of a stage to the group's being complete again.",
          Buckets{0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 5, 10, 30, 60, 300, 1800})) {
  auto& short_steps = prometheus::BuildCounter()
                          .Name("baton_scheduler_short_steps_total")
                          .Help(
                              "Steps kept short because a key floods the group, by what it has "
                              "more of than its share: places, blocks, time.")
                          .Register(*registry_);
  for (size_t i = 0; i < kNumFloodable; ++i) {
    short_steps_[i] = &short_steps.Add({{"flooded", kFloodableNames[i]}});
  }
  auto& losses = prometheus::BuildCounter()
                     .Name("baton_scheduler_stage_losses_total")
                     .Help(
                         "Stages lost, by cause: stage (it died, hung, or left by itself), link "
                         "(cut between two that live), join (it did not find its neighbours).")
                     .Register(*registry_);
  for (size_t i = 0; i < kNumLossCauses; ++i) {
    stage_losses_[i] = &losses.Add({{"cause", kLossCauseNames[i]}});
  }
  // Series that are there from the start can be subtracted from.
  for (const char* reason :
       {"queue_requests", "queue_tokens", "queue_wait", "deadline", "displaced", "incomplete",
        "draining", "open_calls", "stage_overloaded"}) {
    refused_.Add({{"reason", reason}});
  }
}

void SchedulerMetrics::OnStep(uint32_t num_rows, uint32_t num_tokens, absl::Duration duration) {
  steps_.Increment();
  computed_tokens_.Increment(num_tokens);
  if (num_rows > 0) step_rows_.Observe(num_rows);
  step_seconds_.Observe(absl::ToDoubleSeconds(duration));
}

void SchedulerMetrics::OnStart(absl::Duration waited) {
  queue_seconds_.Observe(absl::ToDoubleSeconds(waited));
}

void SchedulerMetrics::OnTokens(uint64_t num_tokens) {
  generated_tokens_.Increment(static_cast<double>(num_tokens));
}

void SchedulerMetrics::OnRefused(absl::string_view reason) {
  refused_.Add({{"reason", std::string(reason)}}).Increment();
}

void SchedulerMetrics::OnExpired(uint64_t num_requests) {
  expired_.Increment(static_cast<double>(num_requests));
}

void SchedulerMetrics::OnStalledReader() { stalled_readers_.Increment(); }

void SchedulerMetrics::OnStepCost(const StepCost& cost) {
  if (!cost.learns()) return;
  for (size_t stage = 0; stage < cost.stages().size(); ++stage) {
    const StageCost& fitted = cost.stages()[stage];
    const std::string name = std::to_string(stage);
    for (size_t i = 0; i < CostTerms::kCount; ++i) {
      step_cost_seconds_.Add({{"stage", name}, {"term", CostTerms::kNames[i]}})
          .Set(fitted.prices().values[i]);
    }
    step_cost_error_.Add({{"stage", name}}).Set(fitted.error());
  }
  step_cost_expert_share_.Set(cost.expert_share());
  step_cost_steps_.Set(static_cast<double>(cost.num_observations()));
}

void SchedulerMetrics::OnStageLost(LossCause cause) {
  stage_losses_[static_cast<size_t>(cause)]->Increment();
}

void SchedulerMetrics::OnRecovery(absl::Duration duration) {
  recovery_seconds_.Observe(absl::ToDoubleSeconds(duration));
}

void SchedulerMetrics::OnCounts(const ScheduleCounts& counts, uint64_t epoch, bool ready) {
  running_.Set(counts.num_running);
  paused_.Set(counts.num_paused);
  suspended_.Set(counts.num_suspended);
  waiting_.Set(counts.num_waiting);
  queue_tokens_.Set(static_cast<double>(counts.num_waiting_tokens));
  predicted_wait_.Set(static_cast<double>(counts.drain_time) / 1e6);
  short_step_.Set(counts.short_step_seconds);
  used_blocks_.Set(counts.num_used_blocks);
  total_blocks_.Set(counts.num_total_blocks);
  epoch_.Set(static_cast<double>(epoch));
  group_ready_.Set(ready ? 1 : 0);
  const auto grow = [](prometheus::Counter& counter, uint64_t now, uint64_t before) {
    counter.Increment(static_cast<double>(now - before));
  };
  for (size_t i = 0; i < kNumFloodable; ++i) {
    grow(*short_steps_[i], counts.num_short_steps[i], last_counts_.num_short_steps[i]);
  }
  grow(pauses_, counts.num_pauses, last_counts_.num_pauses);
  grow(suspensions_, counts.num_suspensions, last_counts_.num_suspensions);
  grow(preemptions_, counts.num_preemptions, last_counts_.num_preemptions);
  grow(prefix_queries_, counts.prefix_lookups.num_query_tokens,
       last_counts_.prefix_lookups.num_query_tokens);
  grow(prefix_hits_, counts.prefix_lookups.num_hit_tokens,
       last_counts_.prefix_lookups.num_hit_tokens);
  grow(evicted_blocks_, counts.num_evicted_blocks, last_counts_.num_evicted_blocks);
  last_counts_ = counts;
}

}  // namespace baton::scheduler
