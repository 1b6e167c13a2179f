#include "services/stage_worker/packed_weights/packed_cache.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "absl/time/time.h"

#include "common/concurrency/steady_time.h"
#include "common/log/log.h"
#include "services/stage_worker/packed_weights/block_check.h"
#include "services/stage_worker/packed_weights/packed_writer.h"

namespace baton::stage {
namespace {

// Steps go first, and everybody else's reads.
void TakeLowestPriority() {
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), 19);
  constexpr int kThisThread = 1;
  constexpr int kIdleClass = 3 << 13;
  syscall(SYS_ioprio_set, kThisThread, 0, kIdleClass);
}

// Part `index` of `whole` cut into `count` parts that differ by at most 1.
uint64_t PartOf(uint64_t whole, uint64_t index, uint64_t count) {
  return whole / count + (index < whole % count ? 1 : 0);
}

}  // namespace

PackedCache::PackedCache(PackedCacheOptions options)
    : options_(std::move(options)),
      statuses_(options_.stores.size()),
      files_(options_.stores.size()),
      folder_(PackedFolder::Open(options_.folder)) {
  for (const WeightStore* store : options_.stores) {
    keys_.push_back(MakePackedKey(options_.origin, *store));
  }
}

PackedCache::~PackedCache() {
  Cancel();
  if (writer_.joinable()) writer_.join();
}

void PackedCache::Cancel() {
  cancelled_ = true;
  const absl::MutexLock lock(&mutex_);
  may_write_ = true;
}

void PackedCache::NoteStep() {
  const absl::MutexLock lock(&mutex_);
  may_write_ = true;
}

void PackedCache::Describe(PackedCacheCounts* counts) const {
  counts->mapped_bytes = mapped_bytes_;
  counts->adopt_seconds = adopt_seconds_;
}

void PackedCache::Adopt() {
  const absl::Time begin = SteadyNow();
  if (folder_.ok()) {
    folder_->RemoveLeftovers();
    OpenFiles();
    CheckFiles();
  } else {
    BATON_LOG(WARNING) << "packed weights are not kept: " << folder_.status().message();
  }
  if (cancelled_) return;
  size_t num_filled = 0;
  uint64_t found = 0;
  uint64_t mapped = 0;
  uint64_t evictable = 0;
  for (size_t device = 0; device < files_.size(); ++device) {
    FillStore(device);
    if (files_[device] == nullptr) continue;
    ++num_filled;
    found += options_.stores[device]->total_bytes();
    mapped += files_[device]->bytes();
    if (files_[device]->is_evictable()) evictable += files_[device]->bytes();
  }
  const absl::Duration taken = SteadyNow() - begin;
  found_bytes_ = found;
  mapped_bytes_ = mapped;
  evictable_bytes_ = evictable;
  adopt_seconds_ = absl::ToDoubleSeconds(taken);
  options_.counters->num_adopted += num_filled;
  options_.counters->num_missed += files_.size() - num_filled;
  if (num_filled == 0) return;
  BATON_LOG(INFO) << "weights of " << num_filled << " of " << files_.size()
                  << " devices from packed files in " << options_.folder << ": " << mapped
                  << " bytes checked in " << absl::ToInt64Milliseconds(taken) << " ms";
}

void PackedCache::OpenFiles() {
  for (size_t device = 0; device < files_.size(); ++device) {
    absl::StatusOr<std::shared_ptr<PackedFile>> file = PackedFile::Open(*folder_, keys_[device]);
    statuses_[device] = file.status();
    if (!file.ok()) continue;
    files_[device] = *std::move(file);
    mapped_bytes_ += files_[device]->bytes();
  }
}

void PackedCache::CheckFiles() {
  BlockCheckOptions options;
  options.num_threads = options_.num_threads;
  options.goes_on = [this] { return !cancelled_; };
  options.on_good = [this](size_t device, size_t block) {
    found_bytes_ +=
        PartOf(options_.stores[device]->total_bytes(), block, files_[device]->num_blocks());
  };
  const std::vector<absl::Status> results = CheckAllBlocks(files_, options);
  for (size_t device = 0; device < files_.size(); ++device) {
    statuses_[device].Update(results[device]);
  }
}

void PackedCache::FillStore(size_t device) {
  if (!folder_.ok()) return;
  absl::Status& status = statuses_[device];
  bool is_damaged = absl::IsDataLoss(status);
  if (status.ok()) {
    status = options_.stores[device]->Adopt(files_[device]->placed(), files_[device]);
    if (status.ok()) return;
    is_damaged = true;
  }
  files_[device] = nullptr;
  if (absl::IsNotFound(status)) {
    BATON_LOG(INFO) << "no packed weights of device " << device << " yet: " << status.message();
    return;
  }
  BATON_LOG(WARNING) << "packed weights of device " << device << " are "
                     << (is_damaged ? "damaged, removed and " : "")
                     << "not used; the weights are loaded: " << status.message();
  if (is_damaged) RemoveFile(device);
}

void PackedCache::RemoveFile(size_t device) {
  ++options_.counters->num_damaged;
  const absl::Status removed = folder_->Remove(keys_[device].file_name);
  if (!removed.ok()) BATON_LOG(ERROR) << "a damaged file stays: " << removed.message();
}

void PackedCache::KeepMissing() {
  bool misses = false;
  for (const std::shared_ptr<PackedFile>& file : files_) misses = misses || file == nullptr;
  if (!misses || !folder_.ok() || writer_.joinable()) return;
  try {
    writer_ = std::thread([this] { AwaitStepAndWrite(); });
  } catch (const std::system_error& error) {
    BATON_LOG(WARNING) << "packed weights are not kept: no thread to write them: " << error.what();
  }
}

void PackedCache::AwaitStepAndWrite() {
  {
    const absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&may_write_));
  }
  TakeLowestPriority();
  for (size_t device = 0; device < files_.size() && !cancelled_; ++device) {
    if (files_[device] == nullptr) Write(device, *folder_);
  }
}

void PackedCache::Write(size_t device, const PackedFolder& folder) {
  const absl::Time begin = SteadyNow();
  const absl::StatusOr<uint64_t> written =
      WritePacked(folder, *options_.stores[device],
                  {.key = keys_[device], .max_bytes = options_.max_bytes, .goes_on = [this] {
                     return !cancelled_;
                   }});
  if (written.ok()) {
    BATON_LOG(INFO) << "packed weights of device " << device << " are kept in " << options_.folder
                    << " for the next start: " << *written << " bytes in "
                    << absl::ToInt64Milliseconds(SteadyNow() - begin) << " ms";
    ++options_.counters->num_written;
  } else if (absl::IsAlreadyExists(written.status()) || absl::IsCancelled(written.status())) {
    BATON_LOG(INFO) << "packed weights of device " << device
                    << " are not written: " << written.status().message();
  } else {
    BATON_LOG(WARNING) << "packed weights of device " << device
                       << " are not kept; the next start loads them again: "
                       << written.status().message();
  }
}

}  // namespace baton::stage
