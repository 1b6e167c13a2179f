#include "services/gateway/text/tool_call_grammar.h"

#include "absl/strings/str_cat.h"

#include "services/gateway/text/deepseek_tool_parser.h"

namespace baton::gateway {
namespace {

constexpr char kTextRule[] = "text ::= ([^<] | \"<\"+ [^<｜])* \"<\"*\n";

}  // namespace

std::string ToolCallGrammar(const ToolCallGrammarOptions& options) {
  const auto tag = [&](absl::string_view text) {
    const std::optional<uint32_t> token = options.token_of_tag(text);
    return token ? absl::StrCat("<[", *token, "]>") : absl::StrCat("\"", text, "\"");
  };
  const bool fenced = options.format == ToolCallFormat::kDeepSeekV3;
  const std::string separator = tag(DeepSeekToolParser::kSeparator);
  const std::string end = tag(DeepSeekToolParser::kCallEnd);
  std::string calls;
  std::string rules;
  for (size_t i = 0; i < options.functions.size(); ++i) {
    const CallableFunction& function = options.functions[i];
    absl::StrAppend(&calls, i == 0 ? "" : " | ", "call-", i);
    absl::StrAppend(&rules, "call-", i, " ::= ");
    if (fenced) {
      absl::StrAppend(&rules, "\"function\" ", separator, " \"", function.name,
                      "\\n```json\\n\" %json ", function.schema, " \"\\n```\" ", end, "\n");
    } else {
      absl::StrAppend(&rules, "\"", function.name, "\" ", separator, " %json ", function.schema,
                      " ", end, "\n");
    }
  }
  const std::string call = absl::StrCat(tag(DeepSeekToolParser::kCallBegin), " (", calls, ")");
  const std::string all =
      absl::StrCat(tag(DeepSeekToolParser::kCallsBegin), " ", call,
                   options.parallel ? absl::StrCat(" (\"\\n\"? ", call, ")*") : "", " ",
                   tag(DeepSeekToolParser::kCallsEnd));
  if (options.required) return absl::StrCat("root ::= [ \\n]{0,4} ", all, "\n", rules);
  const std::string reasoning = options.may_reason ? absl::StrCat("([ \\n]{0,4} ", tag("<think>"),
                                                                  " .* ", tag("</think>"), ")? ")
                                                   : "";
  return absl::StrCat("root ::= ", reasoning, "text (", all, ")?\n", rules, kTextRule);
}

}  // namespace baton::gateway
