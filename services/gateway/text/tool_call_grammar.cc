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
  // What reads the answer takes a closing tag that is written letter by letter for one, too.
  const std::string reasoning =
      options.may_reason ? absl::StrCat("([ \\n]{0,4} ", tag("<think>"), " ",
                                        TextWithout("</think>"), " ", tag("</think>"), ")? ")
                         : "";
  return absl::StrCat("root ::= ", reasoning, "text (", all, ")?\n", rules, kTextRule);
}

}  // namespace baton::gateway
