// UCX's context and worker as one owned thing, and UCX's words for errors as ours.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "ucp/api/ucp.h"

#include "common/transport/transport.h"

namespace baton {

// "`what`: <UCX's message>", Unavailable for lost connections, else Internal; OK for UCS_OK.
absl::Status FromUcxStatus(ucs_status_t status, absl::string_view what);

// Not thread-safe: one caller at a time.
class UcxWorker {
 public:
  // Errors: FailedPrecondition naming the transports asked for if UCX cannot start with them.
  static absl::StatusOr<std::unique_ptr<UcxWorker>> Create(const TransportOptions& options);
  ~UcxWorker();
  UcxWorker(const UcxWorker&) = delete;
  UcxWorker& operator=(const UcxWorker&) = delete;

  ucp_worker_h get() const { return worker_; }
  // Becomes readable when there is something to progress, once armed.
  int event_fd() const { return event_fd_; }
  const std::string& address() const { return address_; }

 private:
  UcxWorker() = default;
  absl::Status Init(const TransportOptions& options);

  ucp_context_h context_ = nullptr;
  ucp_worker_h worker_ = nullptr;
  int event_fd_ = -1;
  std::string address_;
};

}  // namespace baton
