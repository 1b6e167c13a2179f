// How the updates of a request's sequences become the bytes of its answer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "services/gateway/generation/generate_call.h"

namespace baton::gateway {

// Of all choices together; prompt tokens count once per prompt.
struct RequestUsage {
  uint64_t num_prompt_tokens = 0;
  uint64_t num_cached_tokens = 0;
  uint64_t num_generated_tokens = 0;
  uint64_t num_reasoning_tokens = 0;
};

// What every answer of a request says about itself.
struct AnswerHead {
  std::string id;  // "chatcmpl-..." or "cmpl-..."
  int64_t created_unix_seconds = 0;
  std::string model;  // first served name
  std::string system_fingerprint;
};

// One per request; not thread-safe. A streamed answer calls the Stream functions only, a whole one
// Collect and WholeBody only.
class AnswerFormat {
 public:
  virtual ~AnswerFormat() = default;

  // Appends the events for one update of a choice; may append none.
  virtual void StreamUpdate(size_t choice, const SequenceUpdate& update, const RequestUsage& usage,
                            std::string* events) = 0;
  // After the last update of the last choice: usage if asked for, and the end mark.
  virtual void StreamEnd(const RequestUsage& usage, std::string* events) = 0;

  virtual void Collect(size_t choice, SequenceUpdate& update) = 0;
  // About what is kept for WholeBody.
  virtual size_t collected_bytes() const = 0;
  virtual std::string WholeBody(const RequestUsage& usage) = 0;
};

}  // namespace baton::gateway
