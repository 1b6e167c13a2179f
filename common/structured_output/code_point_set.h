// Sets of Unicode characters, and how they are spelt in bytes.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <utility>
#include <vector>

#include "common/structured_output/expression.h"

namespace baton::structured {

// How the text that a pattern speaks of is written.
enum class TextSpelling {
  kPlain,       // as UTF-8
  kJsonString,  // as the inside of a JSON string: `"`, `\` and control characters are escaped
};

// Of characters that UTF-8 can spell: no surrogates.
class CodePointSet final {
 public:
  CodePointSet() = default;
  CodePointSet(std::initializer_list<std::pair<char32_t, char32_t>> ranges) : ranges_(ranges) {
    Normalize();
  }

  // Both ends belong to it; surrogates in between are left out.
  void AddRange(char32_t low, char32_t high);
  void Add(char32_t code_point) { AddRange(code_point, code_point); }
  void AddAll(const CodePointSet& other);
  CodePointSet Complement() const;
  CodePointSet Intersect(const CodePointSet& other) const;
  bool Contains(char32_t code_point) const;
  bool empty() const { return ranges_.empty(); }
  // Ascending, disjoint, not adjacent.
  const std::vector<std::pair<char32_t, char32_t>>& ranges() const { return ranges_; }

 private:
  void Normalize();

  std::vector<std::pair<char32_t, char32_t>> ranges_;
};

inline constexpr char32_t kLastCodePoint = 0x10FFFF;

// One character of the set. In JSON strings a control character may be \u00XX or the short escape,
// `/` may be escaped, and everything else is written as it is.
ExprId SpellCharacter(const CodePointSet& set, TextSpelling spelling, Grammar* grammar);

}  // namespace baton::structured
