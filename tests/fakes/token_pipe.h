// Sampled tokens from the last stage to the first within a process.
#pragma once

#include <map>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

#include "services/stage_worker/execution/token_channel.h"

namespace baton::fakes {

// One epoch's pipe.
class TokenPipe final : public stage::TokenSource, public stage::TokenSink {
 public:
  absl::StatusOr<std::vector<uint32_t>> Receive(const stage::TokenKey& key, size_t num_tokens,
                                                absl::Time deadline) override;
  absl::Status Send(const stage::TokenKey& key, std::span<const uint32_t> tokens,
                    absl::Time deadline) override;

  // Ends waits, now and later, with Cancelled.
  void Cancel();
  // Steps sent and not received yet.
  int num_held() const;

 private:
  using Key = std::pair<uint64_t, uint64_t>;

  mutable absl::Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<Key, std::vector<uint32_t>> steps_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::fakes
