#include "services/gateway/loop/event_loop.h"

#include <memory>
#include <utility>

#include "absl/synchronization/notification.h"
#include "boost/asio/post.hpp"
#include "boost/asio/steady_timer.hpp"

namespace baton::gateway {

EventLoop::EventLoop() : work_guard_(context_.get_executor()) {
  thread_ = std::thread([this] { context_.run(); });
}

EventLoop::~EventLoop() { Stop(); }

void EventLoop::Post(std::function<void()> work) { boost::asio::post(context_, std::move(work)); }

void EventLoop::PostAfter(absl::Duration delay, std::function<void()> work) {
  // Timers are not thread-safe: the timer is made and started on the loop.
  Post([this, delay, work = std::move(work)]() mutable {
    auto timer =
        std::make_shared<boost::asio::steady_timer>(context_, absl::ToChronoNanoseconds(delay));
    timer->async_wait([timer, work = std::move(work)](const boost::system::error_code& error) {
      if (!error) work();
    });
  });
}

void EventLoop::RunAndWait(const std::function<void()>& work) {
  absl::Notification done;
  Post([&] {
    work();
    done.Notify();
  });
  done.WaitForNotification();
}

void EventLoop::Stop() {
  work_guard_.reset();
  context_.stop();
  if (thread_.joinable()) thread_.join();
}

}  // namespace baton::gateway
