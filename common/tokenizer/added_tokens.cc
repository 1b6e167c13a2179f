#include "common/tokenizer/added_tokens.h"

#include <algorithm>

#include "common/status/status_macros.h"
#include "common/utf8/utf8.h"

namespace baton {
namespace {

// Word characters by UTS #18, which Hugging Face's `single_word` goes by.
constexpr char kWordCharacter[] = R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}])";

bool IsWhiteSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

// Where the character that ends at `end` > 0 begins.
size_t CharacterBefore(absl::string_view text, size_t end) {
  size_t begin = end - 1;
  while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
  return begin;
}

size_t SkipWhiteSpaceBack(absl::string_view text, size_t end, size_t limit) {
  while (end > limit) {
    const size_t begin = CharacterBefore(text, end);
    if (!IsWhiteSpace(NextUtf8(text.substr(begin)).code_point)) break;
    end = begin;
  }
  return end;
}

size_t SkipWhiteSpace(absl::string_view text, size_t begin) {
  while (begin < text.size()) {
    const Utf8Step step = NextUtf8(text.substr(begin));
    if (!IsWhiteSpace(step.code_point)) break;
    begin += step.length;
  }
  return begin;
}

}  // namespace

struct AddedTokens::Search {
  absl::string_view text;
  AddedTokenText which;
  absl::Span<const ByteRange> plain_ranges;
  size_t num_looks = 0;  // at plain ranges

  bool EndsBy(const ByteRange& range, size_t place) {
    ++num_looks;
    return range.end <= place;
  }
};

absl::StatusOr<AddedTokens> AddedTokens::Create(absl::Span<const AddedTokenSpec> tokens) {
  AddedTokens added;
  added.tokens_.assign(tokens.begin(), tokens.end());
  for (size_t i = 0; i < tokens.size(); ++i) {
    Tree& tree = tokens[i].normalized ? added.normalized_ : added.verbatim_;
    Insert(tokens[i].content, static_cast<int32_t>(i), &tree);
    if (!tokens[i].single_word || added.word_.has_value()) continue;
    ASSIGN_OR_RETURN(added.word_, Pattern::FromPcre2(kWordCharacter));
  }
  return added;
}

void AddedTokens::Insert(absl::string_view content, int32_t token, Tree* tree) {
  tree->begins[static_cast<uint8_t>(content[0])] = true;
  uint32_t node = 0;
  for (const char c : content) {
    const auto byte = static_cast<uint8_t>(c);
    uint32_t child = tree->nodes[node].first_child;
    while (child != 0 && tree->nodes[child].byte != byte) child = tree->nodes[child].next_sibling;
    if (child == 0) {
      child = static_cast<uint32_t>(tree->nodes.size());
      tree->nodes.push_back({byte, -1, 0, tree->nodes[node].first_child});
      tree->nodes[node].first_child = child;
    }
    node = child;
  }
  tree->nodes[node].token = token;
}

AddedTokens::Match AddedTokens::Longest(const Tree& tree, absl::string_view text, size_t begin,
                                        size_t limit) {
  Match match;
  uint32_t node = 0;
  for (size_t place = begin; place < limit; ++place) {
    const auto byte = static_cast<uint8_t>(text[place]);
    node = tree.nodes[node].first_child;
    while (node != 0 && tree.nodes[node].byte != byte) node = tree.nodes[node].next_sibling;
    if (node == 0) break;
    if (tree.nodes[node].token >= 0) match = {tree.nodes[node].token, place + 1};
  }
  return match;
}

bool AddedTokens::OccursIn(absl::string_view text) const {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    for (const Tree* tree : {&verbatim_, &normalized_}) {
      if (tree->begins[byte] && Longest(*tree, text, i, text.size()).token >= 0) return true;
    }
  }
  return false;
}

std::vector<ByteRange> AddedTokens::Occurrences(absl::string_view text) const {
  std::vector<ByteRange> ranges;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    for (const Tree* tree : {&verbatim_, &normalized_}) {
      if (!tree->begins[byte]) continue;
      const Match match = Longest(*tree, text, i, text.size());
      if (match.token < 0) continue;
      if (ranges.empty() || ranges.back().end <= i) {
        ranges.push_back({i, match.end});
      } else {
        ranges.back().end = std::max(ranges.back().end, match.end);
      }
    }
  }
  return ranges;
}

absl::StatusOr<bool> AddedTokens::IsWordAt(absl::string_view text, size_t place) const {
  const size_t length = NextUtf8(text.substr(place)).length;
  ASSIGN_OR_RETURN(const std::optional<ByteRange> found,
                   Pattern::Matcher(*word_).Find(text.substr(place, length), 0));
  return found.has_value();
}

absl::StatusOr<bool> AddedTokens::StandsAlone(absl::string_view text,
                                              const ByteRange& match) const {
  if (match.begin > 0) {
    ASSIGN_OR_RETURN(const bool word, IsWordAt(text, CharacterBefore(text, match.begin)));
    if (word) return false;
  }
  if (match.end == text.size()) return true;
  ASSIGN_OR_RETURN(const bool word, IsWordAt(text, match.end));
  return !word;
}

absl::Status AddedTokens::SplitPiece(const Tree& tree, Search& search, const ByteRange& piece,
                                     std::vector<Piece>* out) const {
  const absl::string_view text = search.text.substr(0, piece.end);
  const absl::string_view alone = text.substr(piece.begin);
  auto plain = std::partition_point(
      search.plain_ranges.begin(), search.plain_ranges.end(),
      [&search, &piece](const ByteRange& range) { return search.EndsBy(range, piece.begin); });
  size_t done = piece.begin;
  for (size_t place = piece.begin; place < piece.end;) {
    while (plain != search.plain_ranges.end() && search.EndsBy(*plain, place)) ++plain;
    const bool before_plain = plain != search.plain_ranges.end();
    if (before_plain && plain->begin <= place) {
      place = std::min(plain->end, piece.end);
      continue;
    }
    const size_t limit = before_plain ? std::min(plain->begin, piece.end) : piece.end;
    Match match;
    if (tree.begins[static_cast<uint8_t>(text[place])]) match = Longest(tree, text, place, limit);
    if (match.token < 0) {
      ++place;
      continue;
    }
    const AddedTokenSpec& token = tokens_[match.token];
    ByteRange range = {place, match.end};
    place = match.end;
    if (search.which == AddedTokenText::kNotSpecial && token.special) continue;
    const ByteRange inside = {range.begin - piece.begin, range.end - piece.begin};
    if (token.single_word) {
      ASSIGN_OR_RETURN(const bool stands_alone, StandsAlone(alone, inside));
      if (!stands_alone) continue;
    }
    if (token.lstrip) range.begin = SkipWhiteSpaceBack(text, range.begin, done);
    if (token.rstrip) range.end = place = SkipWhiteSpace(text, range.end);
    if (done < range.begin) out->push_back({{done, range.begin}, std::nullopt});
    out->push_back({range, token.id});
    done = range.end;
  }
  if (done < piece.end) out->push_back({{done, piece.end}, std::nullopt});
  return absl::OkStatus();
}

absl::StatusOr<std::vector<AddedTokens::Piece>> AddedTokens::Split(
    absl::string_view text, AddedTokenText which, absl::Span<const ByteRange> plain_ranges,
    size_t* num_range_looks) const {
  std::vector<Piece> pieces;
  if (text.empty()) return pieces;
  if (which == AddedTokenText::kNone) {
    pieces.push_back({{0, text.size()}, std::nullopt});
    return pieces;
  }
  Search search = {text, which, plain_ranges};
  RETURN_IF_ERROR(SplitPiece(verbatim_, search, {0, text.size()}, &pieces));
  std::vector<Piece> out;
  for (const Piece& piece : pieces) {
    if (piece.id.has_value()) {
      out.push_back(piece);
    } else {
      RETURN_IF_ERROR(SplitPiece(normalized_, search, piece.range, &out));
    }
  }
  if (num_range_looks != nullptr) *num_range_looks += search.num_looks;
  return out;
}

}  // namespace baton
