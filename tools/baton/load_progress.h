// How far the weights are, from the model-loader's metrics.
#pragma once

#include <map>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace baton {

class LoadProgress final {
 public:
  explicit LoadProgress(int num_stages) : num_stages_(num_stages) {}

  // Takes the text of the loader's /metrics, read at `now`.
  void Update(absl::string_view metrics, absl::Time now);

  // "loading weights: 37 %, 241 GiB at 5.1 GiB/s, 80 s left"; "loading weights" while none has
  // moved.
  std::string Describe() const;

  // Part of all stages' weights that has arrived, 0 to 1.
  double fraction() const;

 private:
  const int num_stages_;
  std::map<std::string, double> fraction_by_stage_;
  double sent_bytes_ = 0;
  absl::Time began_ = absl::InfiniteFuture();  // when bytes were first seen to move
  absl::Time seen_ = absl::InfinitePast();
};

}  // namespace baton
