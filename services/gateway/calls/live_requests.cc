#include "services/gateway/calls/live_requests.h"

#include <vector>

#include "services/gateway/admission/refusal.h"

namespace baton::gateway {

LiveRequests::Entry::Entry(LiveRequests* owner, std::string caller, std::string id,
                           AbortRequest abort)
    : owner_(owner),
      at_(owner->requests_.emplace(std::make_pair(std::move(caller), std::move(id)),
                                   std::move(abort))) {}

LiveRequests::Entry& LiveRequests::Entry::operator=(Entry&& other) noexcept {
  if (owner_ != nullptr) owner_->requests_.erase(at_);
  owner_ = std::exchange(other.owner_, nullptr);
  at_ = other.at_;
  return *this;
}

LiveRequests::Entry::~Entry() {
  if (owner_ != nullptr) owner_->requests_.erase(at_);
}

size_t LiveRequests::Abort(const std::string& caller, const std::string& id) {
  const auto [begin, end] = requests_.equal_range({caller, id});
  std::vector<AbortRequest> found;
  for (auto at = begin; at != end; ++at) found.push_back(at->second);
  const absl::Status reason = WithReason(
      absl::CancelledError("the caller aborted the request by its name"), kRequestAborted);
  for (const AbortRequest& abort : found) abort(reason);  // takes its entry out
  return found.size();
}

}  // namespace baton::gateway
