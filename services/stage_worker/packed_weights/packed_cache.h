// The packed weights of one stage on the worker's disk: found at its start, kept after a plain
// load.
//
// Nothing here fails the stage: what cannot be used is not, a log line says why, and the caller
// loads as if there were no cache. What is used was checked whole before.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

#include "services/stage_worker/packed_weights/packed_counts.h"
#include "services/stage_worker/packed_weights/packed_file.h"
#include "services/stage_worker/packed_weights/packed_key.h"
#include "services/stage_worker/weights/weight_store.h"

namespace baton::stage {

struct PackedCacheOptions {
  std::string folder;
  uint64_t max_bytes = 0;  // of all its files; 0: a fifth of the file system stays free
  PackedOrigin origin;
  std::vector<WeightStore*> stores;    // one per device; must outlive the cache
  int num_threads = 1;                 // that check files
  PackedCounters* counters = nullptr;  // must outlive the cache
};

// Threads: one caller, but for what says otherwise; while files are checked, some of its own; one
// of its own, of the lowest priority, writes.
class PackedCache final {
 public:
  explicit PackedCache(PackedCacheOptions options);
  // Ends the writing, which leaves no half-written file.
  ~PackedCache();

  // Fills the stores whose files are there and whole: every byte is read and checked, so that it is
  // in memory then. A damaged file is removed and counted. Stores without a file are to be loaded.
  void Adopt();

  // When all stores are finished: those that Adopt did not fill are written for the next start, as
  // soon as NoteStep has been called. A stage that computes nothing keeps nothing.
  void KeepMissing();
  // The stage has done a step. Any thread.
  void NoteStep();
  // Ends Adopt, and the writing, within some MiB. Any thread.
  void Cancel();

  // Of the stores' total_bytes(), what has been found so far. Any thread.
  uint64_t found_bytes() const { return found_bytes_; }
  // Of the files in use, what the system counts as free memory. Any thread.
  uint64_t evictable_bytes() const { return evictable_bytes_; }
  // Adds what is of this stage. Any thread.
  void Describe(PackedCacheCounts* counts) const;

 private:
  // The files that are there, as far as their headers tell.
  void OpenFiles();
  // Sets statuses_ of files that are not what was written.
  void CheckFiles();
  void FillStore(size_t device);
  void RemoveFile(size_t device);
  void AwaitStepAndWrite();
  void Write(size_t device, const PackedFolder& folder);

  const PackedCacheOptions options_;
  std::vector<PackedKey> keys_;                     // the rest: by device
  std::vector<absl::Status> statuses_;              // why the file is not used
  std::vector<std::shared_ptr<PackedFile>> files_;  // null: not found, or not used
  absl::StatusOr<PackedFolder> folder_;

  std::atomic<uint64_t> found_bytes_{0};
  std::atomic<uint64_t> evictable_bytes_{0};
  std::atomic<uint64_t> mapped_bytes_{0};
  std::atomic<double> adopt_seconds_{0};
  std::atomic<bool> cancelled_{false};
  absl::Mutex mutex_;
  bool may_write_ ABSL_GUARDED_BY(mutex_) = false;  // or is to end
  std::thread writer_;
};

}  // namespace baton::stage
