// Every field of chat and text completion requests that this server knows, and what becomes of it:
// what is refused, what the OpenAPI document says and what API.md says come from here.
#pragma once

#include <string>
#include <vector>

#include "absl/types/span.h"

#include "services/gateway/admission/request_caps.h"

namespace baton::gateway {

enum class FieldApi { kChat, kCompletion };

enum class FieldOutcome {
  kWorks,
  kRefused,  // 400, unless it has the value that asks for nothing
  kIgnored,  // no answer depends on it
};

struct FieldRow {
  const char* name;
  bool chat;
  bool completion;
  FieldOutcome outcome;
  std::string schema;   // JSON schema of its values
  const char* example;  // JSON: members of a body that use it; refused if the field is
  const char* neutral;  // kRefused: JSON of the value that asks for nothing; empty if there is none
  std::string note;     // range, default, or why it is refused: what is refused has a reason

  bool BelongsTo(FieldApi api) const { return api == FieldApi::kChat ? chat : completion; }
};

// A field that the APIs know with different types has a row for each. Limits are those of `caps`.
std::vector<FieldRow> FieldRowsOf(const RequestCaps& caps);

// With the limits of RequestCaps that nobody lowered.
absl::Span<const FieldRow> FieldTable();

}  // namespace baton::gateway
