#include "services/model_loader/metrics/loader_metrics.h"

#include <string>

namespace baton::loader {
namespace {

prometheus::Gauge& AddGauge(prometheus::Registry* registry, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(*registry).Add({});
}

prometheus::Counter& AddCounter(prometheus::Registry* registry, const char* name,
                                const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(*registry).Add({});
}

}  // namespace

LoaderMetrics::LoaderMetrics(prometheus::Registry* registry)
    : model_bytes_(AddGauge(registry, "baton_loader_model_bytes", "Bytes of all tensors.")),
      model_tensors_(AddGauge(registry, "baton_loader_model_tensors", "Tensors of the model.")),
      model_files_(AddGauge(registry, "baton_loader_model_files", "Files of the checkpoint.")),
      active_loads_(AddGauge(registry, "baton_loader_active_loads", "Loads under way.")),
      failed_reads_(AddGauge(registry, "baton_loader_failed_read_attempts",
                             "Reads that failed or hung since the start, retried or not.")),
      stuck_reads_(AddGauge(registry, "baton_loader_stuck_reads",
                            "Reads given up that the storage has not answered yet.")),
      read_bytes_(AddCounter(registry, "baton_loader_read_bytes_total", "Bytes read for loads.")),
      sent_bytes_(AddCounter(registry, "baton_loader_sent_bytes_total",
                             "Bytes that receivers have taken.")),
      fraction_(prometheus::BuildGauge()
                    .Name("baton_loader_load_fraction")
                    .Help("Part of all of the stage's weights that it has, 0 to 1.")
                    .Register(*registry)),
      loads_(prometheus::BuildCounter()
                 .Name("baton_loader_loads_total")
                 .Help("Loads that ended, by status.")
                 .Register(*registry)),
      seconds_(prometheus::BuildHistogram()
                   .Name("baton_loader_load_seconds")
                   .Help("Duration of loads that succeeded.")
                   .Register(*registry)
                   .Add({}, prometheus::Histogram::BucketBoundaries{0.1, 0.3, 1, 3, 10, 30, 60, 120,
                                                                    300, 600, 1800})) {}

void LoaderMetrics::SetModel(uint64_t total_bytes, uint64_t num_tensors, uint64_t num_files) {
  model_bytes_.Set(static_cast<double>(total_bytes));
  model_tensors_.Set(static_cast<double>(num_tensors));
  model_files_.Set(static_cast<double>(num_files));
}

void LoaderMetrics::LoadStarted() { active_loads_.Increment(); }

void LoaderMetrics::LoadAdvanced(uint32_t stage, uint64_t new_read_bytes, uint64_t new_sent_bytes,
                                 double fraction) {
  read_bytes_.Increment(static_cast<double>(new_read_bytes));
  sent_bytes_.Increment(static_cast<double>(new_sent_bytes));
  fraction_.Add({{"stage", std::to_string(stage)}}).Set(fraction);
}

void LoaderMetrics::LoadEnded(const absl::Status& status, absl::Duration elapsed) {
  active_loads_.Decrement();
  loads_.Add({{"status", absl::StatusCodeToString(status.code())}}).Increment();
  if (status.ok()) seconds_.Observe(absl::ToDoubleSeconds(elapsed));
}

void LoaderMetrics::SetReadFaults(uint64_t failed_attempts, int stuck_threads) {
  failed_reads_.Set(static_cast<double>(failed_attempts));
  stuck_reads_.Set(stuck_threads);
}

}  // namespace baton::loader
