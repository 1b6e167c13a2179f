// The gateway's one event loop: sockets, timers and posted work on a single thread.
#pragma once

#include <functional>
#include <thread>

#include "absl/time/time.h"
#include "boost/asio/executor_work_guard.hpp"
#include "boost/asio/io_context.hpp"

#include "services/gateway/loop/executor.h"

namespace baton::gateway {

// The thread runs from construction to Stop. An idle loop sleeps in epoll.
class EventLoop final : public Executor {
 public:
  EventLoop();
  ~EventLoop() override;

  void Post(std::function<void()> work) override;
  void PostAfter(absl::Duration delay, std::function<void()> work) override;

  // Runs `work` on the loop and waits for it. Not from the loop's own thread.
  void RunAndWait(const std::function<void()>& work);

  // Ends the thread; work not yet run is dropped. Idempotent; not from the loop's own thread.
  void Stop();

  boost::asio::io_context& context() { return context_; }

 private:
  boost::asio::io_context context_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_guard_;
  std::thread thread_;
};

}  // namespace baton::gateway
