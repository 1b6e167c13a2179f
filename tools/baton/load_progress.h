// How far the weights are, from the metrics of the stage-workers.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace baton {

// Body of a stage-worker's /metrics, if it comes within `timeout`.
using StageMetricsSource =
    std::function<absl::StatusOr<std::string>(int stage, absl::Duration timeout)>;

class LoadProgress final {
 public:
  explicit LoadProgress(int num_stages) : stages_(static_cast<size_t>(num_stages)) {}

  // Asks `stages`, in ascending order, if the last time is a second ago or more: of more than five
  // the next five. Together they may take a quarter of a second, each its part of it: whoever
  // waits here does nothing else.
  void Ask(const std::vector<int>& stages, const StageMetricsSource& source, absl::Time now);

  // Takes the text of a stage-worker's /metrics, read at `now`. A stage that is not heard stays as
  // it was.
  void Update(int stage, absl::string_view metrics, absl::Time now);

  // "loading weights: 37 %, 241 GiB at 5.1 GiB/s, 80 s left"; "loading weights" while none has
  // moved. The rate is that of the stages that still load, each in the mean since its first bytes
  // were seen. Where stages take packed weights of an earlier start, " (1 of 2 stages: packed
  // files)" follows.
  std::string Describe() const;

  // Part of all stages' weights that has arrived, 0 to 1. A stage that does not know yet what it
  // needs counts like the mean of those that do.
  double fraction() const;

 private:
  struct Stage {
    double loaded_bytes = 0;
    double total_bytes = 0;  // 0: not known yet
    bool is_mapped = false;  // packed weights of an earlier start are used, of one device or more
    // When its first bytes were seen, and how many; again when it lost some: a new process loads.
    absl::Time began = absl::InfiniteFuture();
    double bytes_then = 0;
    absl::Time seen = absl::InfinitePast();
  };

  double loaded_bytes() const;
  double total_bytes() const;
  double bytes_per_second() const;

  std::vector<Stage> stages_;
  absl::Time asked_ = absl::InfinitePast();
  int next_stage_ = 0;  // the first to ask the next time, or the next after it
};

}  // namespace baton
