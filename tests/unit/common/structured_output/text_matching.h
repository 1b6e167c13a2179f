// Whole texts against constraints.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

#include "common/structured_output/constraint.h"

namespace baton::structured {

// Whether the automaton matches the whole text.
bool Matches(const Automaton& automaton, absl::string_view text);

// As above for what compiles; adds a failure to the test otherwise.
bool MatchesRegex(absl::string_view pattern, absl::string_view text);
bool MatchesGrammar(absl::string_view grammar, absl::string_view text);

// The message with which it is refused; empty, and a failure of the test, if it compiles.
std::string Refusal(ConstraintKind kind, absl::string_view text, const CompileLimits& limits = {});

}  // namespace baton::structured
