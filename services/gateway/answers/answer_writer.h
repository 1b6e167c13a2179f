// One contract for the answers of every HTTP API: how the updates of a request's sequences become
// bytes. openai, anthropic and responses hold the formats.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"

#include "services/gateway/generation/generate_call.h"
#include "services/gateway/http/http_message.h"

namespace baton::gateway {

// Of a choice, or of all together; prompt tokens count once per prompt.
struct RequestUsage {
  uint64_t num_prompt_tokens = 0;
  uint64_t num_cached_tokens = 0;
  uint64_t num_generated_tokens = 0;
  uint64_t num_reasoning_tokens = 0;

  uint64_t num_tokens() const { return num_prompt_tokens + num_generated_tokens; }
};

// What every answer of a request says about itself.
struct AnswerHead {
  std::string id;  // "chatcmpl-...", "cmpl-...", "msg_..." or "resp_..."
  int64_t created_unix_seconds = 0;
  std::string model;  // first served name
  std::string system_fingerprint;
};

// One per request; not thread-safe. An answer is streamed or whole:
//
//   streamed  Delta...  Finish    or, at any point in place of what would follow, Flush and an
//                                 error event
//   whole     Collect... Body     or an error response
//
// Of each choice come updates in order, the first with `first`, the last with a finish reason;
// those of several choices mix.
class AnswerWriter {
 public:
  virtual ~AnswerWriter() = default;

  // Appends the events for one update of a choice, with what that choice has used; may append none,
  // and hold some of it back.
  virtual void Delta(size_t choice, const SequenceUpdate& update, const RequestUsage& usage,
                     std::string* events) = 0;
  // Appends the events for what Delta has held back, of all choices; an error event may follow.
  virtual void Flush(std::string*) {}
  // After the last update of the last choice: usage of all, if asked for, and the end mark.
  virtual void Finish(const RequestUsage& usage, std::string* events) = 0;

  virtual void Collect(size_t choice, const SequenceUpdate& update) = 0;
  // About what is kept for Body.
  virtual size_t collected_bytes() const = 0;
  // Once, after the last update.
  virtual std::string Body(const RequestUsage& usage) = 0;
};

// How an API words its failures. A failure may come before there is an AnswerWriter, so this
// belongs to the route.
struct ErrorShape {
  HttpResponse (*response)(const absl::Status& status);
  void (*append_event)(const absl::Status& status, std::string* events);  // in a stream
};

}  // namespace baton::gateway
