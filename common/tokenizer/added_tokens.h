// Added tokens found in a text before anything else looks at it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

#include "common/tokenizer/byte_range.h"
#include "common/tokenizer/pattern.h"
#include "common/tokenizer/tokenizer.h"
#include "common/tokenizer/tokenizer_json.h"

namespace baton {

// Those that are not `normalized` are found first, the others in what lies between them; each time
// from the left, at one place the longest. Immutable.
class AddedTokens {
 public:
  struct Piece {
    ByteRange range;
    std::optional<uint32_t> id;  // none: ordinary text
  };

  static absl::StatusOr<AddedTokens> Create(absl::Span<const AddedTokenSpec> tokens);

  // `text`, valid UTF-8, cut at its added tokens; no piece is empty, save a token's. `plain_ranges`
  // as in EncodeOptions. Linear in the text, times the length of a token in the worst case; beside
  // it each piece looks at the logarithm of the number of ranges, and at those that it has or
  // passes. `num_range_looks`, if not null, grows by the ranges that were looked at.
  // Errors: as Pattern::Matcher::Find, where a token is `single_word`.
  absl::StatusOr<std::vector<Piece>> Split(absl::string_view text, AddedTokenText which,
                                           absl::Span<const ByteRange> plain_ranges,
                                           size_t* num_range_looks = nullptr) const;

  // Whether the text of a token occurs in `text`.
  bool OccursIn(absl::string_view text) const;

  // Where texts of tokens stand in `text`, ascending and disjoint; those that overlap are one.
  std::vector<ByteRange> Occurrences(absl::string_view text) const;

 private:
  // A tree of bytes; a node's children are a list of siblings.
  struct Node {
    uint8_t byte = 0;
    int32_t token = -1;  // index into tokens_ of the one that ends here
    uint32_t first_child = 0;
    uint32_t next_sibling = 0;
  };
  struct Tree {
    std::vector<Node> nodes = {Node{}};
    std::vector<bool> begins = std::vector<bool>(256);  // whether a token begins with the byte
  };
  struct Match {
    int32_t token = -1;
    size_t end = 0;
  };
  struct Search;

  static void Insert(absl::string_view content, int32_t token, Tree* tree);
  static Match Longest(const Tree& tree, absl::string_view text, size_t begin, size_t limit);
  absl::Status SplitPiece(const Tree& tree, Search& search, const ByteRange& piece,
                          std::vector<Piece>* out) const;
  absl::StatusOr<bool> IsWordAt(absl::string_view text, size_t place) const;
  absl::StatusOr<bool> StandsAlone(absl::string_view text, const ByteRange& match) const;

  std::vector<AddedTokenSpec> tokens_;
  Tree verbatim_;  // not `normalized`
  Tree normalized_;
  std::optional<Pattern> word_;  // one word character; only where a token is `single_word`
};

}  // namespace baton
