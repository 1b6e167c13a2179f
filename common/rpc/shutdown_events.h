// What can end a server: SIGTERM, SIGINT, or the server's own request.
#pragma once

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace baton {

class ShutdownEvents final {
 public:
  // Blocks SIGTERM and SIGINT for the calling thread and for those that it starts later. Errors:
  // Internal (the system gives no descriptor).
  static absl::StatusOr<std::unique_ptr<ShutdownEvents>> Create();
  ~ShutdownEvents();
  ShutdownEvents(const ShutdownEvents&) = delete;
  ShutdownEvents& operator=(const ShutdownEvents&) = delete;

  // Wakes the present or next Wait, which returns `reason`. Any thread.
  void Request(std::string reason);

  // Waits until `deadline` for a signal or a request and consumes it: "SIGTERM", "SIGINT" or the
  // reason. Empty at the deadline. One thread.
  std::string Wait(absl::Time deadline);

 private:
  ShutdownEvents(int signal_fd, int request_fd) : signal_fd_(signal_fd), request_fd_(request_fd) {}

  const int signal_fd_;
  const int request_fd_;
  absl::Mutex mutex_;
  std::string reason_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton
