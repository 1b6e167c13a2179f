#include "tests/unit/common/structured_output/text_matching.h"

#include "gtest/gtest.h"

#include "common/structured_output/pushdown_states.h"

namespace baton::structured {
namespace {

bool MatchesKind(ConstraintKind kind, absl::string_view source, absl::string_view text) {
  const auto automaton = CompileConstraint({.kind = kind, .text = std::string(source)});
  if (automaton.ok()) return Matches(*automaton, text);
  ADD_FAILURE() << source << ": " << automaton.status();
  return false;
}

}  // namespace

bool Matches(const Automaton& automaton, absl::string_view text) {
  PushdownStates states(&automaton);
  StateId state = states.start();
  for (const char byte : text) state = states.Step(state, static_cast<uint8_t>(byte));
  return states.Accepts(state);
}

bool MatchesRegex(absl::string_view pattern, absl::string_view text) {
  return MatchesKind(ConstraintKind::kRegex, pattern, text);
}

bool MatchesGrammar(absl::string_view grammar, absl::string_view text) {
  return MatchesKind(ConstraintKind::kGrammar, grammar, text);
}

std::string Refusal(ConstraintKind kind, absl::string_view text, const CompileLimits& limits) {
  const auto automaton = CompileConstraint({.kind = kind, .text = std::string(text)}, limits);
  EXPECT_FALSE(automaton.ok()) << text;
  return automaton.ok() ? "" : std::string(automaton.status().message());
}

}  // namespace baton::structured
