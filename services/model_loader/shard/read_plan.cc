#include "services/model_loader/shard/read_plan.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"

#include "common/log/check.h"
#include "services/model_loader/shard/tensor_bands.h"

namespace baton::loader {
namespace {

// A band and where it lies.
struct PlacedBand {
  const StoredTensor* tensor = nullptr;
  Band band;

  uint64_t begin() const { return band.ranges.front().file_offset; }
};

struct OrderedJob {
  uint64_t order = 0;
  ReadJob job;
};

std::vector<PlacedBand> CutAll(const std::vector<std::vector<CheckedSlice>>& targets,
                               const ReadPlanOptions& options) {
  absl::flat_hash_map<const StoredTensor*, std::vector<Want>> wants;
  for (size_t target = 0; target < targets.size(); ++target) {
    for (size_t slice = 0; slice < targets[target].size(); ++slice) {
      const CheckedSlice& what = targets[target][slice];
      wants[what.tensor].push_back(
          {static_cast<uint32_t>(target), static_cast<uint32_t>(slice), slice, &what});
    }
  }
  std::vector<PlacedBand> bands;
  for (const auto& [tensor, tensor_wants] : wants) {
    for (Band& band : CutIntoBands(tensor_wants, options)) {
      bands.push_back({tensor, std::move(band)});
    }
  }
  std::sort(bands.begin(), bands.end(), [](const PlacedBand& a, const PlacedBand& b) {
    return std::pair(a.tensor->file, a.begin()) < std::pair(b.tensor->file, b.begin());
  });
  return bands;
}

uint64_t EndOf(const ReadJob& job) {
  return job.ranges.back().file_offset + job.ranges.back().length;
}

// Whether the band lies close behind what the job reads and fits into it.
bool Joins(const ReadJob& job, const PlacedBand& placed, const ReadPlanOptions& options) {
  if (placed.tensor->file != job.file || placed.begin() < EndOf(job)) return false;
  const uint64_t gap = placed.begin() - EndOf(job);
  return gap < options.page_bytes &&
         job.buffer_bytes + gap + placed.band.buffer_bytes <= options.job_bytes;
}

void Append(const PlacedBand& placed, ReadJob& job) {
  uint64_t base = job.buffer_bytes;
  size_t first = 0;
  const bool plain = !job.ranges.empty() && job.ranges.back().parts.empty() &&
                     placed.band.ranges.front().parts.empty();
  if (plain) {
    // Through the gap, in the same read.
    const uint64_t gap = placed.begin() - EndOf(job);
    base += gap;
    job.ranges.back().length += gap + placed.band.ranges.front().length;
    first = 1;
  }
  for (size_t i = first; i < placed.band.ranges.size(); ++i) {
    job.ranges.push_back(placed.band.ranges[i]);
    job.ranges.back().buffer_offset += base;
    for (RowPart& part : job.ranges.back().parts) part.buffer_offset += base;
  }
  for (const Delivery& delivery : placed.band.deliveries) {
    job.deliveries.push_back(delivery);
    job.deliveries.back().buffer_offset += base;
  }
  job.buffer_bytes = base + placed.band.buffer_bytes;
}

}  // namespace

uint64_t ReadJob::read_bytes() const {
  uint64_t bytes = 0;
  for (const FileRange& range : ranges) bytes += range.length;
  return bytes;
}

ReadPlan BuildReadPlan(const std::vector<std::vector<CheckedSlice>>& targets,
                       const ReadPlanOptions& options) {
  BATON_CHECK(options.job_bytes > 0 && options.chunk_bytes > 0 && options.page_bytes > 0);
  ReadPlan plan;
  std::vector<OrderedJob> jobs;
  for (const PlacedBand& placed : CutAll(targets, options)) {
    if (jobs.empty() || !Joins(jobs.back().job, placed, options)) {
      jobs.push_back({placed.band.order, {}});
      jobs.back().job.file = placed.tensor->file;
      jobs.back().job.first_tensor = placed.tensor;
    }
    jobs.back().order = std::min(jobs.back().order, placed.band.order);
    Append(placed, jobs.back().job);
    plan.needed_bytes += placed.band.needed_bytes;
  }
  std::stable_sort(jobs.begin(), jobs.end(),
                   [](const OrderedJob& a, const OrderedJob& b) { return a.order < b.order; });
  for (OrderedJob& ordered : jobs) {
    plan.read_bytes += ordered.job.read_bytes();
    for (const Delivery& delivery : ordered.job.deliveries) {
      plan.slice_bytes += delivery.bytes();
      plan.num_chunks += (delivery.bytes() + options.chunk_bytes - 1) / options.chunk_bytes;
    }
    plan.jobs.push_back(std::move(ordered.job));
  }
  return plan;
}

}  // namespace baton::loader
