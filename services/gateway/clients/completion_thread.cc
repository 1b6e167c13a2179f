#include "services/gateway/clients/completion_thread.h"

#include "grpc/support/time.h"

namespace baton::gateway {

CompletionThread::CompletionThread() {
  thread_ = std::thread([this] {
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) static_cast<Operation*>(tag)->OnCompleted(ok);
  });
}

CompletionThread::~CompletionThread() {
  queue_.Shutdown();
  thread_.join();
}

void CompletionThread::Start(const std::function<void()>& start) {
  void* tag = nullptr;
  bool ok = false;
  const auto status = queue_.DoThenAsyncNext(start, &tag, &ok, gpr_time_0(GPR_CLOCK_MONOTONIC));
  if (status == grpc::CompletionQueue::GOT_EVENT) static_cast<Operation*>(tag)->OnCompleted(ok);
}

}  // namespace baton::gateway
