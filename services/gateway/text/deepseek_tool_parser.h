// Tool calls as DeepSeek's models write them.
//
//   kFenced (V3, R1, R1-0528)                       kPlain (V3.1)
//   <｜tool▁calls▁begin｜>                          <｜tool▁calls▁begin｜>
//   <｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME  <｜tool▁call▁begin｜>NAME<｜tool▁sep｜>{...}
//   ```json                                         <｜tool▁call▁end｜>
//   {...}                                           <｜tool▁calls▁end｜>
//   ```<｜tool▁call▁end｜>
//   <｜tool▁calls▁end｜>
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

#include "services/gateway/text/tool_call_parser.h"

namespace baton::gateway {

//   content --calls begin--> between --call begin--> header --name known--> arguments
//      ^---- calls end --------'  ^----------------------- call end ------------'
// A call may stand without the pair around all calls. What is no call goes back to content with its
// tags. Holds back a tag that has begun, a header, and white space and fences that a tag would end.
class DeepSeekToolParser final : public ToolCallParser {
 public:
  enum class Syntax { kFenced, kPlain };

  static constexpr absl::string_view kCallsBegin = "<｜tool▁calls▁begin｜>";
  static constexpr absl::string_view kCallsEnd = "<｜tool▁calls▁end｜>";
  static constexpr absl::string_view kCallBegin = "<｜tool▁call▁begin｜>";
  static constexpr absl::string_view kCallEnd = "<｜tool▁call▁end｜>";
  static constexpr absl::string_view kSeparator = "<｜tool▁sep｜>";
  // What stands between a call's begin and its arguments is no header if it is longer.
  static constexpr size_t kMaxHeaderBytes = 1024;

  explicit DeepSeekToolParser(Syntax syntax) : syntax_(syntax) {}

  void Push(absl::string_view piece, ToolDelta* delta) override;
  void Flush(ToolDelta* delta) override;

 private:
  enum class State { kContent, kBetween, kHeader, kArguments };
  enum class Header { kUnknown, kComplete, kNone };

  // Each does what is certain in its state; true if the state changed.
  bool Step(bool at_end, ToolDelta* delta);
  bool StepContent(bool at_end, ToolDelta* delta);
  bool StepBetween(bool at_end, ToolDelta* delta);
  bool StepHeader(bool at_end, ToolDelta* delta);
  bool StepArguments(bool at_end, ToolDelta* delta);

  // Name and length of the header at the beginning of held_: "function<sep>NAME" with the line of
  // the fence, if there is one, or "NAME<sep>".
  Header ReadHeader(std::string* name, size_t* length) const;
  void BeginCall(std::string name, ToolDelta* delta);
  void AppendArguments(absl::string_view text, ToolDelta* delta);
  void BackToContent(absl::string_view tag, ToolDelta* delta);

  const Syntax syntax_;
  State state_ = State::kContent;
  std::string held_;
  std::string unshown_;       // the tag around all calls, until it is known that there are any
  bool skips_space_ = false;  // white space that follows calls is no content
  uint32_t num_calls_ = 0;
  bool has_arguments_ = false;  // the call has any yet
};

}  // namespace baton::gateway
