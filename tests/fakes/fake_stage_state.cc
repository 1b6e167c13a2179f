#include "tests/fakes/fake_stage_state.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "tests/fakes/fake_tokens.h"

namespace baton {

void FakeStageState::Violate(std::string what) {
  violations_.push_back(absl::StrCat("epoch ", epoch_, " step ", last_step_id_, ": ", what));
}

void FakeStageState::Reset(uint64_t epoch, uint32_t num_blocks) {
  if (epoch <= epoch_) Violate(absl::StrCat("epoch ", epoch, " does not grow"));
  epoch_ = epoch;
  num_blocks_ = num_blocks;
  last_step_id_ = 0;
  sequences_.clear();
  holders_.clear();
  cache_.assign(size_t{num_blocks} * options_.block_tokens, Slot{});
}

v1::StepReport FakeStageState::Run(const v1::StepCommand& command) {
  v1::StepReport report;
  report.set_epoch(command.epoch());
  report.set_step_id(command.step_id());
  if (command.epoch() != epoch_) return report;
  if (command.step_id() != last_step_id_ + 1) Violate("steps do not count by one");
  last_step_id_ = command.step_id();
  for (uint64_t id : command.finished_sequence_ids()) Forget(id);
  for (const v1::NewSequence& learned : command.new_sequences()) Learn(learned);
  if (static_cast<uint32_t>(command.chunks_size()) > options_.max_step_sequences) {
    Violate(absl::StrCat(command.chunks_size(), " rows"));
  }
  uint64_t num_tokens = 0;
  std::set<uint64_t> seen;
  for (const v1::SequenceChunk& chunk : command.chunks()) {
    num_tokens += chunk.num_tokens();
    if (!seen.insert(chunk.sequence_id()).second) Violate("a sequence twice in a step");
    RunChunk(chunk, &report);
  }
  if (num_tokens > options_.max_step_tokens) Violate(absl::StrCat(num_tokens, " tokens"));
  num_computed_tokens_ += num_tokens;
  return report;
}

void FakeStageState::Forget(uint64_t sequence_id) {
  const auto known = sequences_.find(sequence_id);
  if (known == sequences_.end()) {
    Violate(absl::StrCat("forget unknown sequence ", sequence_id));
    return;
  }
  for (uint32_t block : known->second.blocks) {
    if (--holders_[block] == 0) holders_.erase(block);
  }
  sequences_.erase(known);
}

void FakeStageState::Learn(const v1::NewSequence& learned) {
  Known& known = sequences_[learned.sequence_id()];
  if (!known.tokens.empty()) {
    Violate(absl::StrCat("learn known sequence ", learned.sequence_id()));
  }
  known.tokens.assign(learned.token_ids().begin(), learned.token_ids().end());
  known.num_prompt_tokens = learned.num_prompt_tokens();
  known.sampling = learned.sampling();
  known.num_computed = learned.num_cached_tokens();
  known.num_cached = learned.num_cached_tokens();
  if (known.num_cached % options_.block_tokens != 0 || known.num_cached >= known.tokens.size()) {
    Violate(absl::StrCat(known.num_cached, " of ", known.tokens.size(), " tokens are cached"));
  }
}

void FakeStageState::AddBlock(uint32_t block, Known* known) {
  if (block >= num_blocks_) return Violate(absl::StrCat("block ", block));
  const bool cached = known->blocks.size() * options_.block_tokens < known->num_cached;
  if (++holders_[block] > 1 && !cached) Violate(absl::StrCat("block ", block, " is held already"));
  const auto slot = cache_.begin() + static_cast<std::ptrdiff_t>(block * options_.block_tokens);
  // Nobody may read what is left there.
  if (!cached) std::fill_n(slot, options_.block_tokens, Slot{});
  known->blocks.push_back(block);
}

const FakeStageState::Slot& FakeStageState::SlotOf(const Known& known, uint64_t position) const {
  const uint64_t block = known.blocks[position / options_.block_tokens];
  return cache_[block * options_.block_tokens + position % options_.block_tokens];
}

FakeStageState::Slot& FakeStageState::SlotOf(const Known& known, uint64_t position) {
  return const_cast<Slot&>(std::as_const(*this).SlotOf(known, position));
}

void FakeStageState::ReadAndWrite(const v1::SequenceChunk& chunk, const Known& known) {
  const uint64_t end = uint64_t{chunk.begin()} + chunk.num_tokens();
  FakeTokenChain text(0);
  for (uint64_t i = 0; i < end; ++i) {
    text.Append(known.tokens[i]);
    Slot& slot = SlotOf(known, i);
    if (i < chunk.begin()) {
      if (slot.text == text.digest()) continue;
      return Violate(
          absl::StrCat("sequence ", chunk.sequence_id(), " reads another's text at ", i));
    }
    const uint32_t block = known.blocks[i / options_.block_tokens];
    if (holders_[block] != 1) Violate(absl::StrCat("block ", block, " is written and shared"));
    slot = {known.tokens[i], text.digest()};
  }
}

void FakeStageState::RunChunk(const v1::SequenceChunk& chunk, v1::StepReport* report) {
  const auto found = sequences_.find(chunk.sequence_id());
  if (found == sequences_.end()) {
    Violate(absl::StrCat("chunk of unknown sequence ", chunk.sequence_id()));
    return;
  }
  Known& known = found->second;
  known.tokens.insert(known.tokens.end(), chunk.appended_token_ids().begin(),
                      chunk.appended_token_ids().end());
  if (chunk.feedback_step_id() > 0) FeedBack(chunk, &known);
  for (uint32_t block : chunk.new_block_ids()) AddBlock(block, &known);
  const uint64_t end = uint64_t{chunk.begin()} + chunk.num_tokens();
  if (chunk.num_tokens() == 0 || chunk.begin() != known.num_computed || end > known.tokens.size() ||
      end > known.blocks.size() * options_.block_tokens) {
    return Violate(absl::StrCat("chunk [", chunk.begin(), ", ", end, ") after ", known.num_computed,
                                " of ", known.tokens.size(), " tokens in ", known.blocks.size(),
                                " blocks"));
  }
  ReadAndWrite(chunk, known);
  known.num_computed = static_cast<uint32_t>(end);
  if (chunk.sample() != (end == known.tokens.size())) Violate("sample flag is wrong");
  if (chunk.sample()) known.sample_step_id = last_step_id_;
  if (!options_.samples) return;
  AddPromptLogprobs(known, chunk, report);
  if (!chunk.sample()) return;
  v1::SampledToken* token = report->add_tokens();
  token->set_sequence_id(chunk.sequence_id());
  token->set_position(static_cast<uint32_t>(end));
  token->set_token_id(NextToken(known));
  if (!known.sampling.logprobs()) return;
  token->mutable_logprobs()->mutable_token()->set_token_id(token->token_id());
  token->mutable_logprobs()->mutable_token()->set_logprob(-0.5f);
}

uint32_t FakeStageState::NextToken(const Known& known) const {
  FakeTokenChain chain(known.sampling.seed());
  for (uint64_t i = 0; i < known.num_computed; ++i) chain.Append(SlotOf(known, i).token);
  return chain.Next(options_.vocab_size);
}

void FakeStageState::FeedBack(const v1::SequenceChunk& chunk, Known* known) {
  if (chunk.feedback_step_id() != known->sample_step_id || chunk.num_tokens() != 1 ||
      chunk.begin() != known->tokens.size() || chunk.appended_token_ids_size() > 0) {
    Violate(absl::StrCat("token of step ", chunk.feedback_step_id(), " at ", chunk.begin(),
                         " after ", known->tokens.size(), ", sampled by step ",
                         known->sample_step_id));
  }
  known->tokens.push_back(NextToken(*known));
}

void FakeStageState::AddPromptLogprobs(const Known& known, const v1::SequenceChunk& chunk,
                                       v1::StepReport* report) const {
  if (!known.sampling.has_num_prompt_logprobs() || chunk.begin() >= known.num_prompt_tokens) return;
  v1::PromptLogprobs* logprobs = report->add_prompt_logprobs();
  logprobs->set_sequence_id(chunk.sequence_id());
  logprobs->set_begin(chunk.begin() + 1);
  const uint64_t end = uint64_t{chunk.begin()} + chunk.num_tokens();
  for (uint64_t i = chunk.begin() + 1; i <= end && i < known.num_prompt_tokens; ++i) {
    v1::PositionLogprobs* position = logprobs->add_positions();
    position->mutable_token()->set_token_id(known.tokens[i]);
    position->mutable_token()->set_logprob(-1.0f);
  }
}

}  // namespace baton
