#include "common/tokenizer/byte_pair_merger.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "common/tokenizer/byte_level.h"
#include "common/tokenizer/merge_queue.h"

namespace baton {
namespace {

// Up to here scanning all pairs for the best is faster than a queue (measured on English and code).
constexpr size_t kShortWordBytes = 48;
constexpr uint32_t kNoRank = UINT32_MAX;
constexpr uint32_t kNowhere = UINT32_MAX;

struct ResolvedMerge {
  uint32_t left = 0;
  uint32_t right = 0;
  uint32_t both = 0;
};

// The ids of a merge's texts.
class MergeResolver {
 public:
  explicit MergeResolver(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {}

  // Texts in the byte-level alphabet; false when the vocabulary lacks one of the three tokens.
  bool Resolve(absl::string_view left_text, absl::string_view right_text, ResolvedMerge* merge) {
    bytes_.clear();
    if (!AppendByteLevelBytes(left_text, &bytes_)) return false;
    const size_t left_size = bytes_.size();
    if (!AppendByteLevelBytes(right_text, &bytes_)) return false;
    const std::optional<uint32_t> left = Find(absl::string_view(bytes_).substr(0, left_size));
    const std::optional<uint32_t> right = Find(absl::string_view(bytes_).substr(left_size));
    // Ids mostly go in the order of the merges: the one after the last result is likely.
    std::optional<uint32_t> both = likely_id_;
    if (vocabulary_.Bytes(likely_id_) != bytes_) both = vocabulary_.Find(bytes_);
    if (!left.has_value() || !right.has_value() || !both.has_value()) return false;
    likely_id_ = *both + 1;
    *merge = {*left, *right, *both};
    return true;
  }

 private:
  std::optional<uint32_t> Find(absl::string_view part) const {
    if (part.size() == 1) return vocabulary_.ByteToken(static_cast<uint8_t>(part[0]));
    return vocabulary_.Find(part);
  }

  const Vocabulary& vocabulary_;
  std::string bytes_;
  uint32_t likely_id_ = 0;
};

}  // namespace

BytePairMerger::BytePairMerger(const Vocabulary& vocabulary)
    : vocabulary_(vocabulary), whole_(vocabulary.size()) {}

absl::StatusOr<std::unique_ptr<BytePairMerger>> BytePairMerger::Create(
    const TokenizerSpec& spec, const Vocabulary& vocabulary) {
  std::unique_ptr<BytePairMerger> merger(new BytePairMerger(vocabulary));
  merger->ignore_merges_ = spec.ignore_merges;
  // First all texts to ids, then all into the table: each pass keeps its own table in the cache.
  std::vector<ResolvedMerge> resolved;
  resolved.reserve(spec.merges.size());
  MergeResolver resolver(vocabulary);
  for (const MergeEntry& entry : spec.merges) {
    const auto text = absl::string_view(spec.text).substr(entry.begin);
    const auto left = text.substr(0, entry.left_length);
    const auto right = text.substr(entry.left_length, entry.right_length);
    resolved.emplace_back();
    if (resolver.Resolve(left, right, &resolved.back())) continue;
    return absl::InvalidArgumentError(absl::StrCat("model.merges: entry ", resolved.size() - 1,
                                                   " \"", left, " ", right,
                                                   "\" needs tokens that model.vocab lacks"));
  }
  merger->merges_.reserve(resolved.size());
  for (size_t rank = 0; rank < resolved.size(); ++rank) {
    const ResolvedMerge& merge = resolved[rank];
    merger->merges_[PairKey(merge.left, merge.right)] = {static_cast<uint32_t>(rank), merge.both};
  }
  return merger;
}

const BytePairMerger::Merge* BytePairMerger::FindMerge(uint32_t left, uint32_t right) const {
  const auto found = merges_.find(PairKey(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

void BytePairMerger::Encode(absl::string_view word, std::vector<uint32_t>* ids) const {
  if (word.size() > vocabulary_.longest()) return MergeWord(word, ids);
  const std::optional<uint32_t> id = vocabulary_.Find(word);
  if (!id.has_value()) return MergeWord(word, ids);
  if (ignore_merges_) return ids->push_back(*id);
  // Threads that get here at once find out the same.
  std::atomic<Whole>& whole = whole_[*id];
  const Whole known = whole.load(std::memory_order_relaxed);
  if (known == Whole::kYes) return ids->push_back(*id);
  const size_t before = ids->size();
  MergeWord(word, ids);
  if (known == Whole::kUnknown) {
    const bool is_whole = ids->size() == before + 1;
    whole.store(is_whole ? Whole::kYes : Whole::kNo, std::memory_order_relaxed);
  }
}

void BytePairMerger::MergeShortWord(absl::string_view word, std::vector<uint32_t>* ids) const {
  std::array<uint32_t, kShortWordBytes> tokens;
  std::array<Merge, kShortWordBytes> merges;  // of a token with the next one
  size_t size = word.size();
  for (size_t i = 0; i < size; ++i) {
    tokens[i] = vocabulary_.ByteToken(static_cast<uint8_t>(word[i]));
  }
  const auto look_up = [&](size_t i) {
    const Merge* const merge = FindMerge(tokens[i], tokens[i + 1]);
    merges[i] = merge == nullptr ? Merge{kNoRank, 0} : *merge;
  };
  for (size_t i = 0; i + 1 < size; ++i) look_up(i);
  while (size > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < size; ++i) {
      if (merges[i].rank < merges[best].rank) best = i;
    }
    if (merges[best].rank == kNoRank) break;
    tokens[best] = merges[best].id;
    std::copy(tokens.begin() + best + 2, tokens.begin() + size, tokens.begin() + best + 1);
    std::copy(merges.begin() + best + 1, merges.begin() + size - 1, merges.begin() + best);
    --size;
    if (best > 0) look_up(best - 1);
    if (best + 1 < size) look_up(best);
  }
  ids->insert(ids->end(), tokens.begin(), tokens.begin() + size);
}

// A linked list of tokens and a queue of the merges possible; entries that later merges made void
// are recognised by what stands at their place.
class BytePairMerger::LongWord {
 public:
  LongWord(const BytePairMerger& merger, absl::string_view word) : merger_(merger) {
    nodes_.reserve(word.size());
    const auto size = static_cast<uint32_t>(word.size());
    for (uint32_t i = 0; i < size; ++i) {
      const uint32_t id = merger.vocabulary_.ByteToken(static_cast<uint8_t>(word[i]));
      nodes_.push_back({id, i == 0 ? kNowhere : i - 1, i + 1 == size ? kNowhere : i + 1});
    }
    for (uint32_t i = 0; i + 1 < size; ++i) Offer(i);
  }

  void Run(std::vector<uint32_t>* ids) {
    MergeQueue::Candidate candidate;
    while (queue_.Pop(&candidate)) {
      const Merge* const merge = MergeAt(candidate.place);
      if (merge != nullptr && merge->rank == candidate.rank) Apply(candidate.place, merge->id);
    }
    for (uint32_t i = 0; i != kNowhere; i = nodes_[i].next) ids->push_back(nodes_[i].id);
  }

 private:
  struct Node {
    uint32_t id;
    uint32_t previous;
    uint32_t next;
    bool gone = false;  // became part of the one before
  };

  const Merge* MergeAt(uint32_t place) const {
    const Node& node = nodes_[place];
    if (node.gone || node.next == kNowhere) return nullptr;
    return merger_.FindMerge(node.id, nodes_[node.next].id);
  }

  void Apply(uint32_t place, uint32_t id) {
    Node& node = nodes_[place];
    Node& taken = nodes_[node.next];
    node.id = id;
    node.next = taken.next;
    taken.gone = true;
    if (node.next != kNowhere) nodes_[node.next].previous = place;
    if (node.previous != kNowhere) Offer(node.previous);
    Offer(place);
  }

  void Offer(uint32_t place) {
    const Merge* const merge = MergeAt(place);
    if (merge != nullptr) queue_.Push({merge->rank, place});
  }

  const BytePairMerger& merger_;
  std::vector<Node> nodes_;
  MergeQueue queue_;
};

void BytePairMerger::MergeWord(absl::string_view word, std::vector<uint32_t>* ids) const {
  if (word.size() <= kShortWordBytes) return MergeShortWord(word, ids);
  LongWord(*this, word).Run(ids);
}

}  // namespace baton
