// From the slices that workers ask for to the reads that serve them: every byte of a file is read
// once, however many slices want it.
//
// A tensor's rows are cut where the set of slices that want them changes, then into bands of at
// most one read. A band that is wanted whole is one range; of a band whose columns are wanted in
// part only those are read, row by row, save that gaps shorter than a page are read too (the page
// comes anyway). Bands that lie next to each other in a file share a read. Where columns are
// wanted by several, each by one, and long enough, the read deals them out, so that nothing has to
// be gathered afterwards.
#pragma once

#include <cstdint>
#include <vector>

#include "services/model_loader/shard/slice_request.h"
#include "services/model_loader/source/range_reader.h"

namespace baton::loader {

// Bytes of a read that go to one slice: `num_runs` runs of `run_bytes`, `stride` apart in the
// buffer, which land densely at `slice_offset` of the slice.
struct Delivery {
  uint32_t target = 0;
  uint32_t slice = 0;  // index among the target's slices
  uint64_t slice_offset = 0;
  uint64_t buffer_offset = 0;
  uint64_t num_runs = 0;
  uint64_t run_bytes = 0;
  uint64_t stride = 0;

  uint64_t bytes() const { return num_runs * run_bytes; }
  bool contiguous() const { return num_runs == 1 || stride == run_bytes; }
};

// One read: ranges of one file into one buffer, and where its bytes go.
struct ReadJob {
  size_t file = 0;
  std::vector<FileRange> ranges;
  uint64_t buffer_bytes = 0;
  std::vector<Delivery> deliveries;
  const StoredTensor* first_tensor = nullptr;  // for messages
  uint64_t read_bytes() const;
};

struct ReadPlan {
  std::vector<ReadJob> jobs;
  uint64_t slice_bytes = 0;   // of all slices
  uint64_t read_bytes = 0;    // from files
  uint64_t needed_bytes = 0;  // distinct bytes of the files that slices want
  uint64_t num_chunks = 0;
};

struct ReadPlanOptions {
  // Aim for one read. A row longer than this is cut.
  uint64_t job_bytes = uint64_t{2} << 20;
  // Largest chunk sent.
  uint64_t chunk_bytes = uint64_t{4} << 20;
  // Gaps below this are read through.
  uint64_t page_bytes = 4096;
  // Shorter columns are gathered: 512 MiB in rows of 8 parts took 60 ms of processor time dealt out
  // and 75 ms gathered with parts of 1 KiB, 102 and 104 ms with parts of 256 bytes (EPYC, Linux 6).
  uint64_t min_part_bytes = 1024;
};

// `targets`[t][s] is slice s of target t. Jobs are ordered so that slices complete about in the
// order in which they are listed. Requires all sizes in `options` to be positive.
ReadPlan BuildReadPlan(const std::vector<std::vector<CheckedSlice>>& targets,
                       const ReadPlanOptions& options);

}  // namespace baton::loader
