#include "common/tokenizer/tokenizer.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"
#include "common/tokenizer/added_tokens.h"
#include "common/tokenizer/byte_pair_merger.h"
#include "common/tokenizer/pre_tokenizer.h"
#include "common/tokenizer/text_file.h"
#include "common/tokenizer/tokenizer_json.h"
#include "common/tokenizer/vocabulary.h"
#include "common/utf8/utf8.h"

namespace baton {

struct Tokenizer::Parts {
  std::unique_ptr<const Vocabulary> vocabulary;
  std::unique_ptr<const BytePairMerger> merger;
  AddedTokens added_tokens;
  PreTokenizer pre_tokenizer;
  std::vector<bool> special;  // by id
  std::vector<bool> added;    // by id
  std::vector<uint32_t> prefix;
  std::vector<uint32_t> suffix;
};

Tokenizer::Tokenizer(std::unique_ptr<const Parts> parts) : parts_(std::move(parts)) {}
Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Create(absl::string_view tokenizer_json,
                                                             const TokenizerOptions& options) {
  ASSIGN_OR_RETURN(TokenizerSpec spec, ParseTokenizerJson(tokenizer_json));
  auto parts = std::make_unique<Parts>();
  ASSIGN_OR_RETURN(parts->vocabulary, Vocabulary::Create(spec));
  ASSIGN_OR_RETURN(parts->merger, BytePairMerger::Create(spec, *parts->vocabulary));
  ASSIGN_OR_RETURN(parts->added_tokens, AddedTokens::Create(spec.added_tokens));
  ASSIGN_OR_RETURN(parts->pre_tokenizer, PreTokenizer::Create(spec.splits));
  parts->special.resize(parts->vocabulary->size());
  parts->added.resize(parts->vocabulary->size());
  for (const AddedTokenSpec& token : spec.added_tokens) {
    parts->special[token.id] = token.special;
    parts->added[token.id] = true;
  }
  parts->prefix = std::move(spec.prefix);
  parts->suffix = std::move(spec.suffix);
  for (const std::vector<uint32_t>* ids : {&parts->prefix, &parts->suffix}) {
    for (const uint32_t id : *ids) {
      if (parts->vocabulary->HasToken(id)) continue;
      return absl::InvalidArgumentError(absl::StrCat("post_processor: there is no token ", id));
    }
  }
  if (!options.bos_token.empty()) {
    const std::optional<uint32_t> bos = parts->vocabulary->FindAdded(options.bos_token);
    if (!bos.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat("bos_token \"", options.bos_token, "\" is not among added_tokens"));
    }
    parts->prefix = {*bos};
  }
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(parts)));
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::CreateFromFile(
    const std::string& path, const TokenizerOptions& options) {
  ASSIGN_OR_RETURN(const std::string json, ReadTextFile(path, kMaxTokenizerFileBytes));
  auto tokenizer = Create(json, options);
  if (!tokenizer.ok()) return Annotate(tokenizer.status(), path);
  return tokenizer;
}

absl::StatusOr<std::vector<uint32_t>> Tokenizer::Encode(absl::string_view text,
                                                        const EncodeOptions& options) const {
  std::vector<uint32_t> ids;
  std::string repaired;
  if (!IsValidUtf8(text)) {
    repaired = ToValidUtf8(text);
    text = repaired;
  }
  ids.reserve(std::min(text.size() / 3 + 2, options.max_tokens));
  if (options.add_special_tokens) ids = parts_->prefix;
  // Of a word longer than this the beginning alone has too many tokens.
  const auto bytes_of = [&](size_t num_ids) {
    const size_t room = options.max_tokens - num_ids;
    const size_t longest = std::max<size_t>(parts_->vocabulary->longest(), 1);
    return room < SIZE_MAX / longest - 1 ? (room + 1) * longest : SIZE_MAX;
  };
  PreTokenizer::Cutter cutter(parts_->pre_tokenizer);
  ASSIGN_OR_RETURN(const std::vector<AddedTokens::Piece> pieces,
                   parts_->added_tokens.Split(text, options.added_tokens, options.plain_ranges));
  for (const AddedTokens::Piece& piece : pieces) {
    if (ids.size() > options.max_tokens) return ids;
    if (piece.id.has_value()) {
      ids.push_back(*piece.id);
      continue;
    }
    const auto part = text.substr(piece.range.begin, piece.range.end - piece.range.begin);
    ASSIGN_OR_RETURN(const absl::Span<const ByteRange> words, cutter.Cut(part));
    for (const ByteRange& word : words) {
      if (ids.size() > options.max_tokens) return ids;
      parts_->merger->Encode(
          part.substr(word.begin, std::min(word.end - word.begin, bytes_of(ids.size()))), &ids);
    }
  }
  if (options.add_special_tokens) {
    ids.insert(ids.end(), parts_->suffix.begin(), parts_->suffix.end());
  }
  return ids;
}

std::string Tokenizer::Decode(absl::Span<const uint32_t> ids, bool skip_special_tokens) const {
  std::string bytes;
  for (const uint32_t id : ids) {
    if (skip_special_tokens && IsSpecial(id)) continue;
    const absl::string_view token = TokenBytes(id);
    bytes.append(token.data(), token.size());
  }
  return IsValidUtf8(bytes) ? bytes : ToValidUtf8(bytes);
}

absl::string_view Tokenizer::TokenBytes(uint32_t id) const { return parts_->vocabulary->Bytes(id); }

std::string Tokenizer::TokenText(uint32_t id) const { return ToValidUtf8(TokenBytes(id)); }

std::optional<uint32_t> Tokenizer::TokenId(absl::string_view content) const {
  const std::optional<uint32_t> added = parts_->vocabulary->FindAdded(content);
  return added.has_value() ? added : parts_->vocabulary->Find(content);
}

bool Tokenizer::HasToken(uint32_t id) const { return parts_->vocabulary->HasToken(id); }

bool Tokenizer::IsSpecial(uint32_t id) const {
  return id < parts_->special.size() && parts_->special[id];
}

bool Tokenizer::IsAdded(uint32_t id) const {
  return id < parts_->added.size() && parts_->added[id];
}

bool Tokenizer::ContainsAddedToken(absl::string_view text) const {
  return parts_->added_tokens.OccursIn(text);
}

std::vector<ByteRange> Tokenizer::AddedTokenRanges(absl::string_view text) const {
  return parts_->added_tokens.Occurrences(text);
}

size_t Tokenizer::vocab_size() const { return parts_->vocabulary->size(); }

}  // namespace baton
