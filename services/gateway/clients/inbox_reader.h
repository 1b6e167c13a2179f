// Reads one server stream into a bounded inbox that the executor empties.
#pragma once

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/client_callback.h"

#include "services/gateway/clients/open_calls.h"
#include "services/gateway/loop/executor.h"

namespace baton::gateway {

// Owned by the call itself (`Begin` to the last delivery) and by whoever listens. gRPC's threads
// run On*; everything else belongs to the executor.
template <typename Response>
class InboxReader final : public grpc::ClientReadReactor<Response>,
                          public std::enable_shared_from_this<InboxReader<Response>> {
 public:
  // Most messages read ahead of the listener.
  static constexpr size_t kCapacity = 64;

  struct Listener {
    std::function<void(std::vector<Response>&)> on_messages;
    std::function<void(const grpc::Status&, const grpc::ClientContext&)> on_done;
  };

  // `open_calls` must outlive the call.
  InboxReader(Executor& executor, OpenCalls& open_calls, Listener listener)
      : executor_(executor), open_calls_(open_calls), listener_(std::move(listener)) {}

  grpc::ClientContext& context() { return context_; }

  // After the stub has bound this reactor to a call.
  void Begin() {
    self_ = this->shared_from_this();
    open_calls_.Add(this, [this] { EndCall(); });
    // Reads are also started outside of gRPC's own callbacks: without a hold gRPC could end the
    // call, and free its side of it, between the decision to read and the read.
    this->AddHold();
    this->StartRead(&incoming_);
    this->StartCall();
  }

  // The listener hears no more; the call ends when the peer ends it.
  void Detach() {
    listener_ = {};
    paused_ = false;
    Deliver();
  }

  // Ends the call now; the listener hears no more.
  void Cancel() {
    listener_ = {};
    EndCall();
  }

  void SetPaused(bool paused) {
    paused_ = paused;
    if (!paused) Deliver();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return this->RemoveHold();
    bool post = false;
    bool read_on = false;
    bool ends = false;
    {
      absl::MutexLock lock(&mutex_);
      inbox_.push_back(std::move(incoming_));
      post = !std::exchange(delivery_posted_, true);
      ends = cancelled_;
      stalled_ = !ends && inbox_.size() >= kCapacity;
      read_on = !ends && !stalled_;
    }
    // Whoever resumes a stalled reader may do so from here on.
    if (post) PostDelivery();
    if (read_on) this->StartRead(&incoming_);
    if (ends) this->RemoveHold();
  }

  void OnDone(const grpc::Status& status) override {
    {
      absl::MutexLock lock(&mutex_);
      status_ = status;
      done_ = true;
    }
    // gRPC touches this object no more; the delivery keeps it, and ends it on the executor's
    // thread. Here the context could be the last to hold the channel, which must not end on a
    // thread of gRPC: it would wait for itself.
    open_calls_.Remove(this,
                       [this] { executor_.Post([self = std::move(self_)] { self->Deliver(); }); });
  }

 private:
  // Any thread, while gRPC has not called OnDone. A read that is pending fails and gives the hold
  // back; a stalled reader has none, so its hold is given back here.
  void EndCall() {
    bool was_stalled = false;
    {
      absl::MutexLock lock(&mutex_);
      if (done_) return;
      cancelled_ = true;
      was_stalled = std::exchange(stalled_, false);
    }
    context_.TryCancel();
    if (was_stalled) this->RemoveHold();
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
    if (read_on) this->StartRead(&incoming_);
    // The listener may cancel, and so drop itself, while it runs.
    if (const auto on_messages = listener_.on_messages; !messages.empty() && on_messages) {
      on_messages(messages);
    }
    if (!done || paused_) return;
    const auto on_done = std::exchange(listener_, {}).on_done;
    if (on_done) on_done(status_, context_);
  }

  Executor& executor_;
  OpenCalls& open_calls_;
  grpc::ClientContext context_;
  std::shared_ptr<InboxReader> self_;
  Response incoming_;    // gRPC's, while a read is pending
  grpc::Status status_;  // written before done_
  Listener listener_;    // the executor's
  bool paused_ = false;  // the executor's
  absl::Mutex mutex_;
  std::vector<Response> inbox_ ABSL_GUARDED_BY(mutex_);
  bool delivery_posted_ ABSL_GUARDED_BY(mutex_) = false;
  // No read is pending, for the inbox is full: whoever clears this reads on or removes the hold.
  bool stalled_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace baton::gateway
