// Reads one server stream into a bounded inbox that the executor empties.
#pragma once

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/async_stream.h"

#include "services/gateway/clients/completion_thread.h"
#include "services/gateway/clients/open_calls.h"
#include "services/gateway/loop/executor.h"

namespace baton::gateway {

// Owned by the call itself (`Begin` to the last delivery) and by whoever listens. The completion
// thread runs On*; everything else belongs to the executor.
template <typename Response>
class InboxReader final : public std::enable_shared_from_this<InboxReader<Response>> {
 public:
  // Most messages read ahead of the listener.
  static constexpr size_t kCapacity = 64;

  struct Listener {
    std::function<void(std::vector<Response>&)> on_messages;
    std::function<void(const grpc::Status&, const grpc::ClientContext&)> on_done;
  };

  // All must outlive the call.
  InboxReader(Executor& executor, CompletionThread& completions, OpenCalls& open_calls,
              Listener listener)
      : executor_(executor),
        completions_(completions),
        open_calls_(open_calls),
        listener_(std::move(listener)) {}

  grpc::ClientContext& context() { return context_; }

  // `call` was prepared with context() on the queue of `completions`.
  void Begin(std::unique_ptr<grpc::ClientAsyncReader<Response>> call) {
    call_ = std::move(call);
    self_ = this->shared_from_this();
    open_calls_.Add(this, [this] { EndCall(/*cancel=*/true); });
    completions_.Post([this] { call_->StartCall(&started_); });
  }

  // The listener hears no more; the call ends when the peer ends it.
  void Detach() { StopListening(/*cancel=*/false); }

  // Ends the call now; the listener hears no more.
  void Cancel() { StopListening(/*cancel=*/true); }

  void SetPaused(bool paused) {
    paused_ = paused;
    if (!paused) Deliver();
  }

 private:
  // One kind of operation; at most one of all kinds is pending.
  class Step final : public CompletionThread::Operation {
   public:
    using Handler = void (InboxReader::*)(bool ok);
    Step(InboxReader* reader, Handler handler) : reader_(reader), handler_(handler) {}
    void OnCompleted(bool ok) override { (reader_->*handler_)(ok); }

   private:
    InboxReader* const reader_;
    const Handler handler_;
  };

  void OnStarted(bool ok) {
    if (!ok) return call_->Finish(&status_, &finished_);
    call_->Read(&incoming_, &read_);
  }

  void OnRead(bool ok) {
    if (!ok) return call_->Finish(&status_, &finished_);
    bool post = false;
    bool read_on = false;
    {
      absl::MutexLock lock(&mutex_);
      if (heard_) {
        inbox_.push_back(std::move(incoming_));
        post = !std::exchange(delivery_posted_, true);
        stalled_ = !cancelled_ && inbox_.size() >= kCapacity;
      }
      read_on = !stalled_;
    }
    // Whoever resumes a stalled reader may do so from here on.
    if (post) PostDelivery();
    if (read_on) call_->Read(&incoming_, &read_);
  }

  void OnFinished(bool) {
    auto self = std::move(self_);
    bool post = false;
    {
      absl::MutexLock lock(&mutex_);
      done_ = true;
      post = heard_ && !std::exchange(delivery_posted_, true);
    }
    // The executor is not woken for a call that nobody listens to: most have been detached by now.
    open_calls_.Remove(this, [&self, post] {
      if (post) self->PostDelivery();
      self.reset();
    });
  }

  void StopListening(bool cancel) {
    listener_ = {};
    {
      absl::MutexLock lock(&mutex_);
      heard_ = false;
    }
    EndCall(cancel);
  }

  // Any thread, while gRPC is not done. A read that is pending goes on or fails; a stalled reader
  // has none and gets one, for a call ends behind its last message.
  void EndCall(bool cancel) {
    bool was_stalled = false;
    {
      absl::MutexLock lock(&mutex_);
      if (done_) return;
      cancelled_ = cancelled_ || cancel;
      was_stalled = std::exchange(stalled_, false);
    }
    if (cancel) context_.TryCancel();
    if (was_stalled) call_->Read(&incoming_, &read_);
  }

  void PostDelivery() {
    executor_.Post([self = this->shared_from_this()] {
      {
        absl::MutexLock lock(&self->mutex_);
        self->delivery_posted_ = false;
      }
      self->Deliver();
    });
  }

  void Deliver() {
    const auto keep = this->shared_from_this();
    if (paused_) return;
    std::vector<Response> messages;
    bool done = false;
    bool read_on = false;
    {
      absl::MutexLock lock(&mutex_);
      messages.swap(inbox_);
      done = done_;
      read_on = std::exchange(stalled_, false);
    }
    if (read_on) call_->Read(&incoming_, &read_);
    // The listener may cancel, and so drop itself, while it runs.
    if (const auto on_messages = listener_.on_messages; !messages.empty() && on_messages) {
      on_messages(messages);
    }
    if (!done || paused_) return;
    const auto on_done = std::exchange(listener_, {}).on_done;
    if (on_done) on_done(status_, context_);
  }

  Executor& executor_;
  CompletionThread& completions_;
  OpenCalls& open_calls_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientAsyncReader<Response>> call_;  // lives in the context's call
  std::shared_ptr<InboxReader> self_;
  Step started_{this, &InboxReader::OnStarted};
  Step read_{this, &InboxReader::OnRead};
  Step finished_{this, &InboxReader::OnFinished};
  Response incoming_;    // gRPC's, while a read is pending
  grpc::Status status_;  // written before done_
  Listener listener_;    // the executor's
  bool paused_ = false;  // the executor's
  absl::Mutex mutex_;
  std::vector<Response> inbox_ ABSL_GUARDED_BY(mutex_);
  bool delivery_posted_ ABSL_GUARDED_BY(mutex_) = false;
  // No read is pending, for the inbox is full: whoever clears this reads on.
  bool stalled_ ABSL_GUARDED_BY(mutex_) = false;
  bool heard_ ABSL_GUARDED_BY(mutex_) = true;  // messages are still wanted, and the end
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace baton::gateway
