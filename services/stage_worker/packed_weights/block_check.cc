#include "services/stage_worker/packed_weights/block_check.h"

#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

#include "common/log/log.h"

namespace baton::stage {
namespace {

class BlockCheck {
 public:
  BlockCheck(std::span<const std::shared_ptr<PackedFile>> files, const BlockCheckOptions& options)
      : files_(files), options_(options), states_(files.size()) {
    for (const std::shared_ptr<PackedFile>& file : files) {
      num_blocks_ += file == nullptr ? 0 : file->num_blocks();
      ends_.push_back(num_blocks_);
    }
  }

  std::vector<absl::Status> Run() {
    const size_t most = std::min(num_blocks_, static_cast<size_t>(options_.num_threads));
    std::vector<std::thread> threads;
    try {
      while (threads.size() + 1 < most) threads.emplace_back([this] { Work(); });
    } catch (const std::system_error& error) {
      BATON_LOG(WARNING) << "packed weights are checked by " << threads.size() + 1
                         << " threads: the system gives no more: " << error.what();
    }
    Work();
    for (std::thread& thread : threads) thread.join();
    std::vector<absl::Status> results;
    const absl::MutexLock lock(&mutex_);
    for (size_t file = 0; file < files_.size(); ++file) {
      const State& state = states_[file];
      const size_t wanted = files_[file] == nullptr ? 0 : files_[file]->num_blocks();
      results.push_back(state.damage.ok() && state.num_good < wanted
                            ? absl::CancelledError("not checked whole")
                            : state.damage);
    }
    return results;
  }

 private:
  struct State {
    size_t num_good = 0;
    absl::Status damage;
  };

  void Work() {
    while (true) {
      const size_t next = next_.fetch_add(1);
      if (next >= num_blocks_ || !options_.goes_on()) return;
      const auto end = std::upper_bound(ends_.begin(), ends_.end(), next);
      const auto file = static_cast<size_t>(end - ends_.begin());
      if (!IsGood(file)) continue;
      const size_t block = next - (file == 0 ? 0 : ends_[file - 1]);
      const absl::Status status = files_[file]->CheckBlock(block);
      if (status.ok()) options_.on_good(file, block);
      Note(file, status);
    }
  }

  bool IsGood(size_t file) {
    const absl::MutexLock lock(&mutex_);
    return states_[file].damage.ok();
  }

  void Note(size_t file, const absl::Status& status) {
    const absl::MutexLock lock(&mutex_);
    if (status.ok()) ++states_[file].num_good;
    states_[file].damage.Update(status);
  }

  const std::span<const std::shared_ptr<PackedFile>> files_;
  const BlockCheckOptions& options_;
  std::vector<size_t> ends_;  // blocks of the files up to and with this one
  size_t num_blocks_ = 0;
  std::atomic<size_t> next_{0};
  absl::Mutex mutex_;
  std::vector<State> states_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::vector<absl::Status> CheckAllBlocks(std::span<const std::shared_ptr<PackedFile>> files,
                                         const BlockCheckOptions& options) {
  return BlockCheck(files, options).Run();
}

}  // namespace baton::stage
