// Byte-level BPE as Hugging Face's tokenizer.json describes it: text to token ids and back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

#include "common/tokenizer/byte_range.h"

namespace baton {

// Which added tokens are recognised when their text stands in the input.
enum class AddedTokenText {
  kAll,         // as Hugging Face by default; what a rendered chat template needs
  kNotSpecial,  // those that are not `special` only (Hugging Face's encode_special_tokens)
  kNone,        // none: everything is plain text
};

struct EncodeOptions {
  // Put the tokens of the post-processor (usually the begin-of-sentence token) around the text.
  bool add_special_tokens = false;
  AddedTokenText added_tokens = AddedTokenText::kAll;
  // Ranges of the input, ascending and disjoint, in which no added token is recognised, not even
  // one that only reaches into the range: text that a user wrote cannot act as a control token.
  absl::Span<const ByteRange> plain_ranges = {};
  // Whoever can use no more ids than this need not wait for the rest: a text of more gives more
  // than `max_tokens` ids, of which only the number means something: the text has at least as many.
  size_t max_tokens = SIZE_MAX;
};

struct TokenizerOptions {
  // Added by `add_special_tokens`, for files whose tokenizer_config.json says add_bos_token; must
  // be in the vocabulary. Empty: what tokenizer.json's own post-processor says.
  std::string bos_token;
};

// Thread-safe: all members may be called at once from any thread.
// Equal to Hugging Face `tokenizers` for the parts of the format it accepts: no normalizer;
// pre-tokenizers Split (Isolated, Removed) and ByteLevel; model BPE over bytes; decoder ByteLevel.
class Tokenizer {
 public:
  // Errors: InvalidArgument when the text is no JSON, breaks a limit (64 MiB of file, 2^20 tokens,
  // 2^20 merges, 1 KiB per added token), contradicts itself or uses a part of the format that is
  // not supported; the message names the part.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Create(absl::string_view tokenizer_json,
                                                           const TokenizerOptions& options = {});
  // As Create; NotFound or Unavailable when the file cannot be read.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> CreateFromFile(
      const std::string& path, const TokenizerOptions& options = {});

  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // Token ids of `text`. Bytes that are not UTF-8 count as U+FFFD, one for each maximal part of an
  // invalid sequence: the result is that of Hugging Face for the text decoded with replacement.
  // Time is linear in the text up to a logarithm, whatever the text. Errors: InvalidArgument when
  // the file's pattern needs more than 10^7 steps or 64 MiB for one match, ResourceExhausted
  // without memory.
  absl::StatusOr<std::vector<uint32_t>> Encode(absl::string_view text,
                                               const EncodeOptions& options = {}) const;

  // Text of `ids`, always valid UTF-8: bytes that form no character become U+FFFD. Ids without a
  // token give nothing.
  std::string Decode(absl::Span<const uint32_t> ids, bool skip_special_tokens) const;

  // Bytes that the token stands for, possibly a part of a character; empty for an id without a
  // token. Valid as long as the tokenizer.
  absl::string_view TokenBytes(uint32_t id) const;

  // TokenBytes as valid UTF-8, with U+FFFD where the bytes form no character.
  std::string TokenText(uint32_t id) const;

  // Id of the added token with this content ("</think>", "<｜end▁of▁sentence｜>"), or else of the
  // token that stands for exactly these bytes.
  std::optional<uint32_t> TokenId(absl::string_view content) const;

  bool HasToken(uint32_t id) const;
  // Whether the id is an added token marked special: skip_special_tokens drops it.
  bool IsSpecial(uint32_t id) const;
  // Whether the id is an added token, special or not: text that is encoded in pieces never has it.
  bool IsAdded(uint32_t id) const;

  // Whether the text of an added token occurs in `text`.
  bool ContainsAddedToken(absl::string_view text) const;

  // Where such texts stand, ascending and disjoint; those that overlap are one range.
  std::vector<ByteRange> AddedTokenRanges(absl::string_view text) const;

  // Largest id + 1.
  size_t vocab_size() const;

 private:
  struct Parts;
  explicit Tokenizer(std::unique_ptr<const Parts> parts);

  std::unique_ptr<const Parts> parts_;
};

}  // namespace baton
