#include "tools/baton/load_progress.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace baton {
namespace {

constexpr double kGiB = 1 << 30;
constexpr absl::Duration kAskPeriod = absl::Seconds(1);
constexpr absl::Duration kAskTimeout = absl::Milliseconds(250);  // of all that are asked together
// At a time: each has 50 ms for its answer, for it is busy with its weights.
constexpr size_t kMostAsked = 5;

}  // namespace

void LoadProgress::Ask(const std::vector<int>& stages, const StageMetricsSource& source,
                       absl::Time now) {
  if (stages.empty() || now - asked_ < kAskPeriod) return;
  asked_ = now;
  const size_t num_asked = std::min(stages.size(), kMostAsked);
  auto next = std::lower_bound(stages.begin(), stages.end(), next_stage_);
  for (size_t i = 0; i < num_asked; ++i, ++next) {
    if (next == stages.end()) next = stages.begin();
    const auto metrics = source(*next, kAskTimeout / static_cast<double>(num_asked));
    if (metrics.ok()) Update(*next, *metrics, now);
    next_stage_ = *next + 1;
  }
}

void LoadProgress::Update(int stage, absl::string_view metrics, absl::Time now) {
  Stage& read = stages_[static_cast<size_t>(stage)];
  const double before = read.loaded_bytes;
  for (const absl::string_view line : absl::StrSplit(metrics, '\n')) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(line, absl::MaxSplits(' ', 1));
    double value = 0;
    if (!absl::SimpleAtod(parts.second, &value)) continue;
    if (parts.first == "baton_stage_loaded_bytes") read.loaded_bytes = value;
    if (parts.first == "baton_stage_load_total_bytes") read.total_bytes = value;
    if (parts.first == "baton_stage_packed_mapped_bytes") read.is_mapped = value > 0;
  }
  read.seen = now;
  if (read.loaded_bytes < before) read.began = absl::InfiniteFuture();
  if (read.loaded_bytes > 0 && read.began > now) {
    read.began = now;
    read.bytes_then = read.loaded_bytes;
  }
}

double LoadProgress::loaded_bytes() const {
  double sum = 0;
  for (const Stage& stage : stages_) sum += stage.loaded_bytes;
  return sum;
}

double LoadProgress::total_bytes() const {
  double sum = 0;
  double num_known = 0;
  for (const Stage& stage : stages_) {
    sum += stage.total_bytes;
    if (stage.total_bytes > 0) ++num_known;
  }
  return num_known == 0 ? 0 : sum / num_known * static_cast<double>(stages_.size());
}

double LoadProgress::bytes_per_second() const {
  double sum = 0;
  for (const Stage& stage : stages_) {
    if (stage.loaded_bytes >= stage.total_bytes || stage.seen <= stage.began) continue;
    sum +=
        (stage.loaded_bytes - stage.bytes_then) / absl::ToDoubleSeconds(stage.seen - stage.began);
  }
  return sum;
}

double LoadProgress::fraction() const {
  const double total = total_bytes();
  return total <= 0 ? 0 : std::min(1.0, loaded_bytes() / total);
}

std::string LoadProgress::Describe() const {
  const double loaded = loaded_bytes();
  const double left = total_bytes() - loaded;
  if (loaded <= 0) return "loading weights";
  std::string text =
      absl::StrFormat("loading weights: %.0f %%, %.3g GiB", fraction() * 100, loaded / kGiB);
  const double rate = bytes_per_second();
  if (rate > 0 && left > 0)
    absl::StrAppendFormat(&text, " at %.3g GiB/s, %.0f s left", rate / kGiB, left / rate);
  const auto num_mapped = std::count_if(stages_.begin(), stages_.end(),
                                        [](const Stage& stage) { return stage.is_mapped; });
  if (num_mapped > 0) {
    absl::StrAppendFormat(&text, " (%d of %d stages: packed files)", num_mapped, stages_.size());
  }
  return text;
}

}  // namespace baton
