// Token ids and the bytes they stand for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "common/tokenizer/tokenizer_json.h"

namespace baton {

// Immutable after Create. All texts lie in one string.
class Vocabulary {
 public:
  // Errors: InvalidArgument for an id or a text that stands twice, for a byte that has no token of
  // its own, and for an added token whose id the model's vocabulary contradicts.
  static absl::StatusOr<std::unique_ptr<Vocabulary>> Create(const TokenizerSpec& spec);

  Vocabulary(const Vocabulary&) = delete;
  Vocabulary& operator=(const Vocabulary&) = delete;

  bool HasToken(uint32_t id) const { return id < spans_.size() && spans_[id].begin != kNoToken; }
  // Empty when there is no such token.
  absl::string_view Bytes(uint32_t id) const {
    return HasToken(id) ? At(spans_[id]) : absl::string_view();
  }
  // The token of the model's vocabulary that stands for exactly `bytes`.
  std::optional<uint32_t> Find(absl::string_view bytes) const;
  // The added token whose text is `content`.
  std::optional<uint32_t> FindAdded(absl::string_view content) const;
  // The token of one byte.
  uint32_t ByteToken(uint8_t byte) const { return byte_tokens_[byte]; }
  // Bytes of the longest token that Find can return.
  size_t longest() const { return longest_; }
  // Largest id + 1.
  size_t size() const { return spans_.size(); }

 private:
  static constexpr uint32_t kNoToken = UINT32_MAX;

  struct Span {
    uint32_t begin = kNoToken;
    uint32_t length = 0;
  };
  // What the index holds: enough to compare without another look-up (a third of the load time).
  struct Entry {
    Span span;
    uint32_t id = 0;
  };
  struct HashBytes {
    using is_transparent = void;
    const Vocabulary* vocabulary;
    size_t operator()(absl::string_view bytes) const { return absl::HashOf(bytes); }
    size_t operator()(const Entry& entry) const { return absl::HashOf(vocabulary->At(entry.span)); }
  };
  struct EqualBytes {
    using is_transparent = void;
    const Vocabulary* vocabulary;
    bool operator()(const Entry& a, const Entry& b) const {
      return vocabulary->At(a.span) == vocabulary->At(b.span);
    }
    bool operator()(const Entry& a, absl::string_view b) const {
      return vocabulary->At(a.span) == b;
    }
  };

  Vocabulary() : index_(0, HashBytes{this}, EqualBytes{this}) {}

  absl::string_view At(const Span& span) const {
    return absl::string_view(bytes_.data() + span.begin, span.length);
  }
  absl::Status AddModelTokens(const TokenizerSpec& spec);
  absl::Status AddAddedTokens(const TokenizerSpec& spec);
  absl::Status FillByteTokens();

  std::string bytes_;
  std::vector<Span> spans_;                                  // by id
  absl::flat_hash_set<Entry, HashBytes, EqualBytes> index_;  // tokens written in the alphabet
  absl::flat_hash_map<std::string, uint32_t> other_;         // the model's tokens that are not
  absl::flat_hash_map<std::string, uint32_t> added_;
  std::vector<uint32_t> byte_tokens_;
  size_t longest_ = 0;
};

}  // namespace baton
