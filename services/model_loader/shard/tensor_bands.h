// How one tensor's wanted rectangles become bands: parts of a read with the deliveries they feed.
#pragma once

#include <cstdint>
#include <vector>

#include "services/model_loader/shard/read_plan.h"

namespace baton::loader {

// A slice together with who asked for it.
struct Want {
  uint32_t target = 0;
  uint32_t slice = 0;
  uint64_t order = 0;  // position in the worker's order; smaller is sooner
  const CheckedSlice* what = nullptr;
};

// Ranges, offsets and deliveries count from the band's own buffer part.
struct Band {
  std::vector<FileRange> ranges;  // by file offset
  uint64_t buffer_bytes = 0;
  uint64_t needed_bytes = 0;
  uint64_t order = 0;  // least of the slices that it feeds
  std::vector<Delivery> deliveries;
};

// The bands of one tensor, by file offset, for `wants` of that tensor (at least one).
std::vector<Band> CutIntoBands(const std::vector<Want>& wants, const ReadPlanOptions& options);

}  // namespace baton::loader
