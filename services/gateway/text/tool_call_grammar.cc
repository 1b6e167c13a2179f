#include "services/gateway/text/tool_call_grammar.h"

#include "absl/strings/str_cat.h"

#include "services/gateway/text/deepseek_tool_parser.h"

namespace baton::gateway {
namespace {

constexpr char kTextRule[] = "text ::= ([^<] | \"<\"+ [^<｜])* \"<\"*\n";

// Texts without `tag`, whose only "<" is its first character: stretches between those, none of
// which goes on as the tag does.
std::string TextWithout(absl::string_view tag) {
  std::string behind;  // what may follow when so much of the tag has been written
  for (size_t i = tag.size() - 1; i > 0; --i) {
    const absl::string_view next = tag.substr(i, 1);
    const std::string goes_on = behind.empty() ? "" : absl::StrCat(" | \"", next, "\" ", behind);
    behind = absl::StrCat("([^<", next, "] [^<]*", goes_on, ")?");
  }
  return absl::StrCat("[^<]* (\"<\" ", behind, ")*");
}

std::string Tag(const ToolCallGrammarOptions& options, absl::string_view text) {
  const std::optional<uint32_t> token = options.token_of_tag(text);
  return token ? absl::StrCat("<[", *token, "]>") : absl::StrCat("\"", text, "\"");
}

std::string CallRule(const ToolCallGrammarOptions& options, size_t index) {
  const CallableFunction& function = options.functions[index];
  const std::string separator = Tag(options, DeepSeekToolParser::kSeparator);
  const std::string end = Tag(options, DeepSeekToolParser::kCallEnd);
  if (options.format == ToolCallFormat::kDeepSeekV3) {  // fenced
    return absl::StrCat("call-", index, " ::= \"function\" ", separator, " \"", function.name,
                        "\\n```json\\n\" %json ", function.schema, " \"\\n```\" ", end, "\n");
  }
  return absl::StrCat("call-", index, " ::= \"", function.name, "\" ", separator, " %json ",
                      function.schema, " ", end, "\n");
}

}  // namespace

std::string ToolCallGrammar(const ToolCallGrammarOptions& options) {
  const auto tag = [&](absl::string_view text) { return Tag(options, text); };
  std::string calls;
  std::string rules;
  for (size_t i = 0; i < options.functions.size(); ++i) {
    absl::StrAppend(&calls, i == 0 ? "" : " | ", "call-", i);
    absl::StrAppend(&rules, CallRule(options, i));
  }
  const std::string call = absl::StrCat(tag(DeepSeekToolParser::kCallBegin), " (", calls, ")");
  const std::string all =
      absl::StrCat(tag(DeepSeekToolParser::kCallsBegin), " ", call,
                   options.parallel ? absl::StrCat(" (\"\\n\"? ", call, ")*") : "", " ",
                   tag(DeepSeekToolParser::kCallsEnd));
  if (options.required) return absl::StrCat("root ::= [ \\n]{0,4} ", all, "\n", rules);
  // A closing tag that is no token ends the reasoning wherever it is spelled.
  const std::string thoughts = options.token_of_tag("</think>") ? ".*" : TextWithout("</think>");
  const std::string reasoning = options.may_reason
                                    ? absl::StrCat("([ \\n]{0,4} ", tag("<think>"), " ", thoughts,
                                                   " ", tag("</think>"), ")? ")
                                    : "";
  return absl::StrCat("root ::= ", reasoning, "text (", all, ")?\n", rules, kTextRule);
}

std::string OneCallGrammar(const ToolCallGrammarOptions& options, size_t index) {
  return absl::StrCat("root ::= call-", index, "\n", CallRule(options, index));
}

}  // namespace baton::gateway
