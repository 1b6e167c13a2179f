// Bearer keys of the APIs, and whose requests they name.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"

#include "services/gateway/admission/api_key_file.h"

namespace baton::gateway {

// On whose account a request runs.
struct ApiCaller {
  std::string name;     // "key-1" for the first key, or its name in the file, never the key itself;
                        // empty: nobody's
  uint32_t weight = 1;  // share of the service against that of others
  // Cached prompts are found only by requests with the same owner, so that nobody can tell from the
  // time to the first token what others asked. Made of the key alone; empty: shared by all.
  std::string cache_owner;
  KeyLimits limits;

  // The priority of a request that asks for `asked`: a key's are no better than it may have, for
  // classes go before the keys' shares.
  int32_t PriorityOf(int32_t asked) const {
    return name.empty() ? asked : std::max(asked, limits.best_priority);
  }
};

// Any thread.
class ApiKeys {
 public:
  static constexpr size_t kMaxKeyBytes = 256;

  struct Options {
    // Each key has 1 to kMaxKeyBytes bytes.
    std::vector<std::string> keys;
    std::string source;  // where they stand, for the log
    // Of the keys in order, each at least 1; those that it does not reach have 1.
    std::vector<uint32_t> weights;
    std::string file;          // of more keys, by other names: see api_key_file.h; empty: none
    KeyLimits limits;          // of every key, unless the file says otherwise
    bool share_cache = false;  // all keys are one owner of cached prompts
  };

  // Neither keys nor a file: everybody may call. The file is not read yet.
  explicit ApiKeys(Options options);

  // Reads the file, if there is one, now. Afterwards Identify reads it again when it has changed,
  // until that succeeds; one that is wrong then is logged, and the keys stay what they were.
  // Errors: NotFound, InvalidArgument, naming file and line.
  absl::Status Load() ABSL_LOCKS_EXCLUDED(mutex_);

  // For the log: "1 of --api-key, 2 of --api-key-file", "none: everybody may call".
  std::string Describe() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Checks an Authorization header ("Bearer <key>"). The time depends neither on where an offered
  // key differs from a real one nor on which it matches. Errors: Unauthenticated.
  absl::StatusOr<ApiCaller> Identify(absl::string_view authorization) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Check(absl::string_view authorization) const {
    return Identify(authorization).status();
  }

 private:
  using Table = std::vector<ApiKey>;

  // What tells that a file has changed.
  struct FileStamp {
    int64_t modified_ns = 0;
    uint64_t inode = 0;
    int64_t bytes = -1;  // -1: it is not there
    bool operator==(const FileStamp&) const = default;
  };

  static FileStamp StampOf(const std::string& path);
  absl::StatusOr<Table> ReadTable() const;
  std::shared_ptr<const Table> Current() const ABSL_LOCKS_EXCLUDED(mutex_);

  const Options options_;
  Table flag_keys_;
  mutable absl::Mutex mutex_;
  mutable std::shared_ptr<const Table> table_ ABSL_GUARDED_BY(mutex_);
  mutable FileStamp stamp_ ABSL_GUARDED_BY(mutex_);   // of what table_ was read from
  mutable std::string told_ ABSL_GUARDED_BY(mutex_);  // why it could not be read, as last logged
  mutable std::chrono::steady_clock::time_point checked_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::gateway
