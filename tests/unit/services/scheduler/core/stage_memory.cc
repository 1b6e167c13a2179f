#include "tests/unit/services/scheduler/core/stage_memory.h"

#include "absl/strings/str_cat.h"

namespace baton::scheduler {
namespace {

uint64_t Digest(uint64_t before, TokenId token, bool expanded = false) {
  constexpr uint64_t kExpanded = uint64_t{1} << 32;
  uint64_t x = before + 0x9e3779b97f4a7c15 + token + (expanded ? kExpanded : 0);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

TokenId TokenOf(uint64_t content) { return content % StageMemory::kVocabSize; }

}  // namespace

TokenId StageMemory::NextToken(const std::vector<TokenId>& tokens, uint32_t num_prompt) const {
  uint64_t content = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    content = Digest(content, tokens[i], i < NumExpanded(num_prompt));
  }
  return TokenOf(content);
}

void StageMemory::Violate(SequenceId id, const std::string& what) {
  if (violation_.empty()) violation_ = absl::StrCat("sequence ", id, ": ", what);
}

StepResult StageMemory::Run(const Batch& batch, const Schedule& schedule) {
  StepResult result{.step_id = batch.step_id};
  for (const SequenceId id : batch.finished) {
    if (sequences_.erase(id) == 0) Violate(id, "forgotten, but not known");
  }
  for (const BatchRow& row : batch.rows) {
    if (row.begins) Learn(row, schedule);
    const auto found = sequences_.find(row.id);
    if (found == sequences_.end()) {
      Violate(row.id, "works, but is not known");
      continue;
    }
    Compute(row, &found->second);
    if (!row.sample) continue;
    Sample(row, &found->second, &result);
    found->second.sampled_step = batch.step_id;
  }
  return result;
}

void StageMemory::Sample(const BatchRow& row, Known* known, StepResult* result) {
  uint32_t position = row.begin + row.num_tokens - static_cast<uint32_t>(row.drafts.size());
  for (size_t depth = 0;; ++depth, ++position) {
    const uint64_t* last = Cell(*known, position - 1);
    known->sampled = TokenOf(last == nullptr ? 0 : *last);
    result->tokens.push_back({row.id, position, known->sampled});
    if (depth == row.drafts.size() || row.drafts[depth] != known->sampled) break;
    ++known->num_computed;
  }
  const uint64_t* last = Cell(*known, position - 1);
  uint64_t content = Digest(last == nullptr ? 0 : *last, known->sampled);
  known->drafts.clear();
  while (known->drafts.size() < num_drafts_) {
    // The guess is wrong now and then; a wrong one leads to wrong ones.
    const bool wrong = (content >> 40) % 4 == 0;
    known->drafts.push_back((TokenOf(content) + (wrong ? 1 : 0)) % kVocabSize);
    content = Digest(content, known->drafts.back());
  }
  if (num_drafts_ > 0) result->drafts.push_back({row.id, known->drafts});
}

void StageMemory::WriteDrafts(const BatchRow& row, Known* known) {
  uint32_t position = row.begin + row.num_tokens - static_cast<uint32_t>(row.drafts.size());
  for (size_t i = 0; i < row.drafts.size(); ++i, ++position) {
    if (i >= known->drafts.size() || known->drafts[i] != row.drafts[i]) {
      return Violate(row.id, absl::StrCat("has a draft at ", position, " that nobody made"));
    }
    const uint64_t* before = Cell(*known, position - 1);
    uint64_t* cell = Cell(*known, position);
    if (cell == nullptr) return Violate(row.id, absl::StrCat("no block for a draft at ", position));
    *cell = Digest(before == nullptr ? 0 : *before, row.drafts[i]);
  }
}

void StageMemory::Learn(const BatchRow& row, const Schedule& schedule) {
  if (sequences_.contains(row.id)) Violate(row.id, "begins, but is known");
  Known& known = sequences_[row.id] = {};
  known.tokens = schedule.Find(row.id)->tokens();
  known.num_expanded = NumExpanded(schedule.Find(row.id)->num_prompt_tokens());
  known.num_computed = row.begin;
  if (!row.appended.empty()) Violate(row.id, "begins with appended tokens");
}

void StageMemory::Compute(const BatchRow& row, Known* known) {
  if (row.feedback_step > 0) {
    if (known->sampled_step != row.feedback_step || !row.appended.empty()) {
      return Violate(row.id, absl::StrCat("begins with the token of step ", row.feedback_step,
                                          "; its newest is of step ", known->sampled_step));
    }
    known->tokens.push_back(known->sampled);
  }
  known->tokens.insert(known->tokens.end(), row.appended.begin(), row.appended.end());
  for (size_t i = known->contents.size(); i < known->tokens.size(); ++i) {
    const uint64_t before = i == 0 ? 0 : known->contents.back();
    known->contents.push_back(Digest(before, known->tokens[i], i < known->num_expanded));
  }
  for (const BlockId block : row.new_blocks) {
    if (block >= num_blocks_) Violate(row.id, absl::StrCat("has block ", block));
    known->blocks.push_back(block);
  }
  const uint32_t end = row.begin + row.num_tokens - static_cast<uint32_t>(row.drafts.size());
  if (end <= row.begin || row.begin != known->num_computed || end > known->tokens.size()) {
    return Violate(row.id,
                   absl::StrCat("computes ", row.begin, " to ", end, " with ", known->num_computed,
                                " of ", known->tokens.size(), " tokens computed"));
  }
  if (row.sample != (end == known->tokens.size())) Violate(row.id, "samples at the wrong time");
  for (uint32_t position = 0; position < row.begin; ++position) {
    const uint64_t* cell = Cell(*known, position);
    if (cell != nullptr && *cell == known->contents[position]) continue;
    return Violate(row.id, absl::StrCat("reads another's KV at position ", position));
  }
  for (uint32_t position = row.begin; position < end; ++position) {
    uint64_t* cell = Cell(*known, position);
    if (cell == nullptr) return Violate(row.id, absl::StrCat("no block for position ", position));
    *cell = known->contents[position];
  }
  known->num_computed = end;
  WriteDrafts(row, known);
}

uint64_t* StageMemory::Cell(const Known& known, uint32_t position) {
  const uint32_t index = position / block_tokens_;
  if (index >= known.blocks.size()) return nullptr;
  return &cells_[uint64_t{known.blocks[index]} * block_tokens_ + position % block_tokens_];
}

}  // namespace baton::scheduler
