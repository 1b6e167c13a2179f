#include "services/gateway/text/tool_call_parser.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "services/gateway/text/deepseek_tool_parser.h"

namespace baton::gateway {

absl::StatusOr<ToolCallFormat> ParseToolCallFormat(absl::string_view name) {
  if (name.empty() || name == "none") return ToolCallFormat::kNone;
  if (name == "deepseek_v3") return ToolCallFormat::kDeepSeekV3;
  if (name == "deepseek_v31") return ToolCallFormat::kDeepSeekV31;
  return absl::InvalidArgumentError(absl::StrCat("unknown tool call parser \"", name,
                                                 "\"; known: none, deepseek_v3, deepseek_v31"));
}

std::unique_ptr<ToolCallParser> MakeToolCallParser(ToolCallFormat format) {
  switch (format) {
    case ToolCallFormat::kNone:
      return nullptr;
    case ToolCallFormat::kDeepSeekV3:
      return std::make_unique<DeepSeekToolParser>(DeepSeekToolParser::Syntax::kFenced);
    case ToolCallFormat::kDeepSeekV31:
      return std::make_unique<DeepSeekToolParser>(DeepSeekToolParser::Syntax::kPlain);
  }
  return nullptr;
}

}  // namespace baton::gateway
