// A Scheduling service for tests of its callers: answers every Submit with scripted or hashed
// tokens, follows max_tokens and cancellation, and can be told to refuse, hold, fail or be unready.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpcpp/server.h"

#include "common/rpc/reader_limits.h"
#include "protos/baton/v1/scheduling.grpc.pb.h"

namespace baton {

struct FakeSchedulerOptions {
  uint32_t vocab_size = 1024;
  uint32_t max_model_len = 4096;
  uint32_t tokens_per_message = 1;
  std::string model_fingerprint = "fake";
  std::string listen_address = "127.0.0.1:0";
  // A caller that takes nothing for so long loses its sequence, as with the scheduler.
  absl::Duration reader_stall_timeout = kReaderStallTimeout;
};

// What one Submit gets.
struct FakeAnswer {
  std::vector<uint32_t> token_ids;  // cut at max_tokens (then the reason is LENGTH)
  v1::FinishReason finish_reason = v1::FINISH_REASON_STOP;
  uint32_t num_cached = 0;  // prompt tokens, sent with the first token
  absl::Status status;      // ends the stream after the tokens; if not OK, no finish reason is sent
  int64_t retry_after_ms = 0;  // sent as trailing metadata if positive; so below
  int64_t closed_for_us = 0;
};

class FakeScheduler final : public v1::Scheduling::Service {
 public:
  // Serves on 127.0.0.1 until destroyed; ready at once.
  static std::unique_ptr<FakeScheduler> Start(FakeSchedulerOptions options = {});
  ~FakeScheduler() override;

  std::string address() const;
  int port() const { return port_; }
  // What it would rather have had at the place of a prompt's token: first of its log-probabilities.
  static uint32_t PreferredOver(uint32_t token_id) { return token_id < 500 ? 1000 : 10; }

  // The next Submit without an answer of its own takes this one, in order. Without any, a Submit
  // gets max_tokens hashed tokens (FakeContinuation of prompt and resumed tokens) and LENGTH.
  void PushAnswer(FakeAnswer answer);
  // Every stream stops after this many tokens until Release (or its cancellation).
  void HoldAfter(size_t num_tokens);
  void Release();
  // Says no word any more on any stream, as a process that is stopped.
  void Freeze();
  // Seen by WatchGroup; raises the epoch when it turns true again.
  void SetReady(bool ready);

  // What was submitted so far, in order of arrival.
  std::vector<v1::SubmitRequest> requests() const;
  // What stood in the metadata of each, empty if nothing did.
  std::vector<std::string> traceparents() const;
  // True once at least `count` Submits were cancelled by their callers; false at the timeout, which
  // only a hang misses.
  bool WaitForCancelled(size_t count, absl::Duration timeout = absl::Seconds(30)) const;
  // True once at least `count` Submits have arrived; false at the timeout.
  bool WaitForRequests(size_t count, absl::Duration timeout = absl::Seconds(30)) const;
  size_t num_open() const;
  // Tokens that gRPC has taken for each Submit, in order of arrival.
  std::vector<size_t> num_sent() const;

  grpc::Status Submit(grpc::ServerContext* context, const v1::SubmitRequest* request,
                      grpc::ServerWriter<v1::SubmitResponse>* writer) override;
  grpc::Status WatchGroup(grpc::ServerContext* context, const v1::WatchGroupRequest* request,
                          grpc::ServerWriter<v1::GroupState>* writer) override;

 private:
  explicit FakeScheduler(FakeSchedulerOptions options) : options_(std::move(options)) {}

  FakeAnswer TakeAnswer(const v1::SubmitRequest& request);
  // False if the call was cancelled or the server stops first.
  bool WaitWhileHeld(grpc::ServerContext* context, size_t num_sent);
  // Hands `response` to gRPC, and waits while it takes no more: nothing is made up for a caller
  // that does not read. CANCELLED: the caller is gone; RESOURCE_EXHAUSTED: it took nothing for too
  // long, which it hears when it reads on.
  grpc::Status Write(const v1::SubmitResponse& response,
                     grpc::ServerWriter<v1::SubmitResponse>* writer) const;
  // `index`: its place in requests().
  grpc::Status SendAnswer(grpc::ServerContext* context, const v1::SubmitRequest& request,
                          size_t index, grpc::ServerWriter<v1::SubmitResponse>* writer);
  v1::GroupState StateLocked() const ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  const FakeSchedulerOptions options_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  mutable absl::Mutex mutex_;
  std::deque<FakeAnswer> answers_ ABSL_GUARDED_BY(mutex_);
  std::vector<v1::SubmitRequest> requests_ ABSL_GUARDED_BY(mutex_);
  std::vector<size_t> num_sent_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> traceparents_ ABSL_GUARDED_BY(mutex_);
  size_t hold_after_ ABSL_GUARDED_BY(mutex_) = SIZE_MAX;
  size_t num_cancelled_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t num_open_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ready_ ABSL_GUARDED_BY(mutex_) = true;
  bool frozen_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t epoch_ ABSL_GUARDED_BY(mutex_) = 1;
  uint64_t state_version_ ABSL_GUARDED_BY(mutex_) = 1;
};

}  // namespace baton
