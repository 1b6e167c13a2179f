#include "common/tokenizer/vocabulary.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "common/status/status_macros.h"
#include "common/tokenizer/byte_level.h"

namespace baton {

absl::StatusOr<std::unique_ptr<Vocabulary>> Vocabulary::Create(const TokenizerSpec& spec) {
  std::unique_ptr<Vocabulary> vocabulary(new Vocabulary());
  RETURN_IF_ERROR(vocabulary->AddModelTokens(spec));
  RETURN_IF_ERROR(vocabulary->FillByteTokens());
  RETURN_IF_ERROR(vocabulary->AddAddedTokens(spec));
  return vocabulary;
}

absl::Status Vocabulary::AddModelTokens(const TokenizerSpec& spec) {
  uint32_t max_id = 0;
  size_t num_bytes = 0;
  for (const VocabEntry& entry : spec.vocab) {
    max_id = std::max(max_id, entry.id);
    num_bytes += entry.length;
  }
  for (const AddedTokenSpec& token : spec.added_tokens) max_id = std::max(max_id, token.id);
  spans_.resize(size_t{max_id} + 1);
  bytes_.reserve(num_bytes);
  index_.reserve(spec.vocab.size());
  for (const VocabEntry& entry : spec.vocab) {
    const auto text = absl::string_view(spec.text).substr(entry.begin, entry.length);
    if (HasToken(entry.id)) {
      return absl::InvalidArgumentError(absl::StrCat("model.vocab: id ", entry.id, " of \"", text,
                                                     "\" stands for another token as well"));
    }
    const auto begin = static_cast<uint32_t>(bytes_.size());
    const bool in_alphabet = AppendByteLevelBytes(text, &bytes_);
    if (!in_alphabet) bytes_.append(text.data(), text.size());
    spans_[entry.id] = {begin, static_cast<uint32_t>(bytes_.size()) - begin};
    const bool is_new = in_alphabet ? index_.insert({spans_[entry.id], entry.id}).second
                                    : other_.emplace(std::string(text), entry.id).second;
    if (!is_new) {
      return absl::InvalidArgumentError(absl::StrCat("model.vocab: \"", text, "\" stands twice"));
    }
    if (in_alphabet) longest_ = std::max(longest_, bytes_.size() - begin);
  }
  return absl::OkStatus();
}

absl::Status Vocabulary::FillByteTokens() {
  byte_tokens_.resize(256);
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const std::optional<uint32_t> id = Find(absl::string_view(&c, 1));
    if (!id.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrFormat("model.vocab has no token for byte 0x%02X", byte));
    }
    byte_tokens_[byte] = *id;
  }
  return absl::OkStatus();
}

// An added token may also stand in the model's vocabulary, then under the same id.
absl::Status Vocabulary::AddAddedTokens(const TokenizerSpec& spec) {
  for (const AddedTokenSpec& token : spec.added_tokens) {
    const std::string bytes = BytesOfToken(token.content);
    std::optional<uint32_t> known;
    std::string in_alphabet;
    if (AppendByteLevelBytes(token.content, &in_alphabet)) {
      known = Find(bytes);
    } else if (const auto found = other_.find(token.content); found != other_.end()) {
      known = found->second;
    }
    const bool clash = known.has_value() ? *known != token.id : HasToken(token.id);
    if (clash || !added_.emplace(token.content, token.id).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("added_tokens: \"", token.content, "\" with id ", token.id,
                       clash ? " contradicts the tokens before it" : " stands twice"));
    }
    if (known.has_value()) continue;
    spans_[token.id] = {static_cast<uint32_t>(bytes_.size()), static_cast<uint32_t>(bytes.size())};
    bytes_ += bytes;
  }
  return absl::OkStatus();
}

std::optional<uint32_t> Vocabulary::Find(absl::string_view bytes) const {
  const auto found = index_.find(bytes);
  if (found == index_.end()) return std::nullopt;
  return found->id;
}

std::optional<uint32_t> Vocabulary::FindAdded(absl::string_view content) const {
  const auto found = added_.find(content);
  if (found == added_.end()) return std::nullopt;
  return found->second;
}

}  // namespace baton
