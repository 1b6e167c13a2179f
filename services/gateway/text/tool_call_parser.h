// Finds the tool calls in a model's answer: the interface of all syntaxes, and their names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace baton::gateway {

// How the model writes its calls.
enum class ToolCallFormat {
  kNone,         // it writes none: everything is text
  kDeepSeekV3,   // function<sep>NAME, a fence of JSON; V3 and R1
  kDeepSeekV31,  // NAME<sep>JSON
};

// What became known of one call. The pieces of a call come together: first one that `begins` it and
// has its name, then its arguments, which may come in any number of pieces.
struct ToolCallPiece {
  uint32_t index = 0;  // of the call in its answer, from 0
  bool begins = false;
  std::string name;       // of the function; set if `begins`
  std::string arguments;  // what follows of the JSON text, as the model wrote it
  // Bytes of the content it comes with that the model wrote before it (answer_order.h).
  size_t content_offset = 0;

  bool operator==(const ToolCallPiece&) const = default;
};

// What a piece of the answer added.
struct ToolDelta {
  std::string content;               // text outside of calls
  std::vector<ToolCallPiece> calls;  // in order; neighbours of one call are one piece
};

// The content, the names and the arguments, put together over all calls, do not depend on how the
// answer is cut into pieces. Text that begins like a call and is none is content: nothing the model
// wrote is lost but tags, fences and the white space around them. One per choice; not thread-safe.
class ToolCallParser {
 public:
  virtual ~ToolCallParser() = default;

  // Appends to `delta` what `piece` makes certain. Whole characters in, whole characters out.
  virtual void Push(absl::string_view piece, ToolDelta* delta) = 0;
  // The end of the answer. A call whose arguments are not complete ends where they end.
  virtual void Flush(ToolDelta* delta) = 0;
};

// From --tool-call-parser: "" and "none", "deepseek_v3", "deepseek_v31". Errors: InvalidArgument
// naming the value and those known.
absl::StatusOr<ToolCallFormat> ParseToolCallFormat(absl::string_view name);

// Null for kNone.
std::unique_ptr<ToolCallParser> MakeToolCallParser(ToolCallFormat format);

}  // namespace baton::gateway
