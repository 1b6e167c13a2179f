// What the HTTP calls that generate have in common: admission, the sequences of the
// request, streaming with backpressure, failure, cancellation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "services/gateway/admission/request_slots.h"
#include "services/gateway/answers/answer_writer.h"
#include "services/gateway/calls/gateway_context.h"
#include "services/gateway/generation/generate_call.h"
#include "services/gateway/generation/sequence_builder.h"
#include "services/gateway/http/http_exchange.h"
#include "services/gateway/openai/error_body.h"

namespace baton::gateway {

// A request that is ready to run.
struct PreparedGeneration {
  std::vector<SequenceSpec> sequences;  // in the order of choices
  size_t choices_per_prompt = 1;
  uint32_t max_tokens = 0;  // of each, for metrics
  std::unique_ptr<AnswerWriter> writer;
  bool stream = false;
  uint64_t stream_interval = 1;  // tokens of an event
  std::string id;                // replaces that of the scope; empty: none was given in the body
  HttpHeaders headers;           // of the answer, beside those that every answer has
};

// Body to sequences and answer writer: everything that can be refused with 400 or 404. Runs on any
// thread.
using PrepareGeneration = std::function<absl::StatusOr<PreparedGeneration>(
    const GatewayContext& context, const HttpRequest& request, const RequestScope& scope)>;

//   preparing -> running -> ended
// Every way out cancels what still runs and gives the slot back, but for a request that the text
// worker is at: its slot is taken until the worker has let go of it. On the loop's thread.
class HttpGenerationCall final : public HttpCall, public SequenceObserver {
 public:
  struct Options {
    std::string route;      // for logs and metrics
    std::string id_prefix;  // "chatcmpl-"
    PrepareGeneration prepare;
    ErrorShape errors = kOpenAiErrors;
  };

  HttpGenerationCall(const GatewayContext& context, HttpExchange& exchange, Options options);
  ~HttpGenerationCall() override;

  void Start() override;
  void OnDisconnect(Departure how) override;
  void OnWritable() override;
  void Abort(const absl::Status& reason) override;

  void OnUpdate(size_t index, SequenceUpdate& update) override;
  void OnFailure(size_t index, const absl::Status& status) override;

 private:
  struct LongRequest;

  // What the headers say. Errors: InvalidArgument naming the header.
  absl::Status ReadHeaders();
  // Of a request whose body names none.
  int32_t HeaderPriority() const;
  // Refuses at once what the scheduler would refuse.
  absl::Status CheckGate();
  // Takes the place of one sequence, and the request from the key's rate.
  absl::Status TakePlace();
  // The tokens of the prompts, from the key's rate.
  absl::Status TakePrompts(const PreparedGeneration& prepared);
  // What every answer says in its header.
  HttpHeaders AnswerHeaders() const;
  // From now on it can be aborted by the name in scope_.
  void NameRequest();
  void PrepareOnWorker();
  // Fails the call at its deadline while it waits for the worker.
  void WatchDeadline();
  void Run(absl::StatusOr<PreparedGeneration> prepared);
  void WriteEvents(absl::string_view events);
  // A stream that has nothing to say for long writes a comment.
  void KeepAliveLater();
  void SetPaused(bool paused);
  void Complete();
  void Fail(const absl::Status& status);
  void LogEnd(int http_status, absl::string_view outcome);
  void RecordRequests();
  void CountUsage(size_t index);
  // Of one choice, as last counted.
  RequestUsage UsageOf(size_t index) const;

  const GatewayContext& context_;
  HttpExchange& exchange_;
  const Options options_;
  RequestScope scope_;
  std::optional<RequestSlots::Slot> slot_;
  std::optional<uint64_t> num_paid_tokens_;  // of its prompts; null: the request was not taken
  LiveRequests::Entry entry_;
  PreparedGeneration prepared_;
  std::vector<std::unique_ptr<GenerateCall>> sequences_;
  size_t num_running_ = 0;
  RequestUsage usage_;                  // running totals of
  std::vector<SequenceUsage> counted_;  // what each sequence had at its last update
  std::vector<std::optional<uint32_t>>
      least_cached_;    // of each prompt's choices, once one is known
  bool gated_ = false;  // its priority is known before its body is parsed
  bool stream_started_ = false;
  bool paused_ = false;
  size_t paused_bytes_ = 0;  // unsent when it was last paused
  size_t next_resumed_ = 0;  // of sequences_
  bool ended_ = false;
  bool wrote_ = false;                         // since the keep-alive was last looked at
  std::shared_ptr<HttpGenerationCall*> self_;  // of timers; null inside once this is gone
  std::optional<absl::Duration> first_token_after_;
  std::shared_ptr<LongRequest> long_request_;  // while the text worker has it
};

}  // namespace baton::gateway
