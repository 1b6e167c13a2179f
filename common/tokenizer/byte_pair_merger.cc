#include "common/tokenizer/byte_pair_merger.h"

#include <algorithm>
#include <array>
#include <optional>
#include <queue>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "common/tokenizer/byte_level.h"

namespace baton {
namespace {

// Up to here scanning all pairs for the best is faster than a heap (measured on English and code).
constexpr size_t kShortWordBytes = 48;
constexpr uint32_t kNoRank = UINT32_MAX;
constexpr uint32_t kNowhere = UINT32_MAX;

}  // namespace

BytePairMerger::BytePairMerger(const Vocabulary& vocabulary)
    : vocabulary_(vocabulary), whole_(vocabulary.size()) {}

absl::StatusOr<std::unique_ptr<BytePairMerger>> BytePairMerger::Create(
    const TokenizerSpec& spec, const Vocabulary& vocabulary) {
  std::unique_ptr<BytePairMerger> merger(new BytePairMerger(vocabulary));
  merger->ignore_merges_ = spec.ignore_merges;
  merger->merges_.reserve(spec.merges.size());
  std::string bytes;
  for (size_t rank = 0; rank < spec.merges.size(); ++rank) {
    const MergeEntry& entry = spec.merges[rank];
    const auto text = absl::string_view(spec.text).substr(entry.begin);
    const auto left_text = text.substr(0, entry.left_length);
    const auto right_text = text.substr(entry.left_length, entry.right_length);
    bytes.clear();
    std::optional<uint32_t> left, right, both;
    if (AppendByteLevelBytes(left_text, &bytes)) {
      const size_t left_bytes = bytes.size();
      if (AppendByteLevelBytes(right_text, &bytes)) {
        left = vocabulary.Find(absl::string_view(bytes).substr(0, left_bytes));
        right = vocabulary.Find(absl::string_view(bytes).substr(left_bytes));
        both = vocabulary.Find(bytes);
      }
    }
    if (!left.has_value() || !right.has_value() || !both.has_value()) {
      return absl::InvalidArgumentError(absl::StrCat("model.merges: entry ", rank, " \"", left_text,
                                                     " ", right_text,
                                                     "\" needs tokens that model.vocab lacks"));
    }
    merger->merges_[PairKey(*left, *right)] = {static_cast<uint32_t>(rank), *both};
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

// A linked list of tokens and a heap of the merges possible; entries of the heap that later merges
// made void are recognised by what stands at their place.
class BytePairMerger::LongWord {
 public:
  LongWord(const BytePairMerger& merger, absl::string_view word) : merger_(merger) {
    nodes_.reserve(word.size());
    const auto size = static_cast<uint32_t>(word.size());
    for (uint32_t i = 0; i < size; ++i) {
      const uint32_t id = merger.vocabulary_.ByteToken(static_cast<uint8_t>(word[i]));
      nodes_.push_back({id, i == 0 ? kNowhere : i - 1, i + 1 == size ? kNowhere : i + 1});
    }
    std::vector<Candidate> candidates;
    for (uint32_t i = 0; i + 1 < size; ++i) {
      const Merge* const merge = merger.FindMerge(nodes_[i].id, nodes_[i + 1].id);
      if (merge != nullptr) candidates.push_back({merge->rank, i, merge->id});
    }
    heap_ = Heap(std::greater<>(), std::move(candidates));
  }

  void Run(std::vector<uint32_t>* ids) {
    while (!heap_.empty()) {
      const Candidate top = heap_.top();
      heap_.pop();
      if (IsCurrent(top)) Apply(top);
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
  struct Candidate {
    uint32_t rank;
    uint32_t place;
    uint32_t id;

    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : place > other.place;
    }
  };
  using Heap = std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>>;

  bool IsCurrent(const Candidate& candidate) const {
    const Node& node = nodes_[candidate.place];
    if (node.gone || node.next == kNowhere) return false;
    const Merge* const merge = merger_.FindMerge(node.id, nodes_[node.next].id);
    return merge != nullptr && merge->id == candidate.id;
  }

  void Apply(const Candidate& candidate) {
    Node& node = nodes_[candidate.place];
    Node& taken = nodes_[node.next];
    node.id = candidate.id;
    node.next = taken.next;
    taken.gone = true;
    if (node.next != kNowhere) nodes_[node.next].previous = candidate.place;
    if (node.previous != kNowhere) Offer(node.previous);
    Offer(candidate.place);
  }

  void Offer(uint32_t place) {
    const Node& node = nodes_[place];
    if (node.next == kNowhere) return;
    const Merge* const merge = merger_.FindMerge(node.id, nodes_[node.next].id);
    if (merge != nullptr) heap_.push({merge->rank, place, merge->id});
  }

  const BytePairMerger& merger_;
  std::vector<Node> nodes_;
  Heap heap_;
};

void BytePairMerger::MergeWord(absl::string_view word, std::vector<uint32_t>* ids) const {
  if (word.size() <= kShortWordBytes) return MergeShortWord(word, ids);
  LongWord(*this, word).Run(ids);
}

}  // namespace baton
