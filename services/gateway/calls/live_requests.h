// The generation requests that run, by name, so that they can be aborted.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>

#include "absl/status/status.h"

namespace baton::gateway {

// HTTP's and gRPC's. On the loop's thread.
class LiveRequests final {
 public:
  using AbortRequest = std::function<void(const absl::Status& reason)>;

  // While it lives, its request can be found.
  class Entry {
   public:
    Entry() = default;
    Entry(LiveRequests* owner, std::string caller, std::string id, AbortRequest abort);
    Entry(Entry&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)), at_(other.at_) {}
    Entry& operator=(Entry&& other) noexcept;
    ~Entry();

   private:
    friend class LiveRequests;
    using Map = std::multimap<std::pair<std::string, std::string>, AbortRequest>;
    LiveRequests* owner_ = nullptr;
    Map::iterator at_;
  };

  // Aborts every request that `caller` has under this name; several may have chosen the same.
  // Returns their number.
  size_t Abort(const std::string& caller, const std::string& id);

 private:
  Entry::Map requests_;  // by caller and name
};

}  // namespace baton::gateway
