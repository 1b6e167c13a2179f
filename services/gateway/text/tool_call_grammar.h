// What an answer that has to call functions, or may, can be, as a grammar
// (common/structured_output's EBNF).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

#include "services/gateway/text/tool_call_parser.h"

namespace baton::gateway {

struct CallableFunction {
  std::string name;    // letters, digits, underscores, dashes, dots
  std::string schema;  // of its arguments: a JSON object
};

struct ToolCallGrammarOptions {
  ToolCallFormat format = ToolCallFormat::kNone;  // another one
  std::vector<CallableFunction> functions;        // at least one
  bool parallel = true;                           // else there is one call
  bool required = true;                           // else text may stand before it, or alone
  bool may_reason = false;  // and before all that, reasoning in its tags; not where it is required
  // The token that a tag is, if it is one; a tag that is none is written as text.
  std::function<std::optional<uint32_t>(absl::string_view tag)> token_of_tag;
};

// Calls of the functions as the model writes them, and nothing else but white space before them;
// or, if none is required, text. Text holds no "<｜", with which all tags begin: written letter by
// letter it would be taken for one; nor does reasoning hold its own end so, if that is no token.
// Whether the schemas compile is for the grammar's reader to say.
std::string ToolCallGrammar(const ToolCallGrammarOptions& options);

// A call of the function of this index and nothing else. Its rule is the one that ToolCallGrammar
// has for it: that costs as much more with one schema than with another as this does.
std::string OneCallGrammar(const ToolCallGrammarOptions& options, size_t index);

}  // namespace baton::gateway
