// What a stage keeps, in small: tokens of known sequences and a KV cache whose entries are the
// tokens themselves. Every rule of stage.proto that a scheduler can break is checked.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "protos/baton/v1/stage.pb.h"

namespace baton {

// The next token comes from the cache, read through the sequence's block table: a block that two
// sequences write, or that is read before it is written, gives another token than
// FakeContinuation. As in a model, what a slot holds depends on every token before it. Not
// thread-safe.
class FakeStageState final {
 public:
  struct Options {
    uint32_t vocab_size = 1024;
    uint32_t block_tokens = 64;
    uint32_t max_step_tokens = 2048;
    uint32_t max_step_sequences = 256;
    bool samples = true;  // the last stage
  };

  explicit FakeStageState(Options options) : options_(options) {}

  // A new topology: everything is forgotten.
  void Reset(uint64_t epoch, uint32_t num_blocks);
  // Runs a step; commands of another epoch give a report without content that the caller drops.
  v1::StepReport Run(const v1::StepCommand& command);

  // Rules broken so far, in words; empty if all is well.
  const std::vector<std::string>& violations() const { return violations_; }
  uint64_t epoch() const { return epoch_; }
  uint64_t last_step_id() const { return last_step_id_; }
  size_t num_sequences() const { return sequences_.size(); }
  // Every token of a known sequence, those included that were fed back; else nothing.
  std::vector<uint32_t> TokensOf(uint64_t sequence_id) const {
    const auto known = sequences_.find(sequence_id);
    return known == sequences_.end() ? std::vector<uint32_t>() : known->second.tokens;
  }
  size_t num_used_blocks() const { return holders_.size(); }
  uint64_t num_computed_tokens() const { return num_computed_tokens_; }

 private:
  struct Slot {
    uint32_t token = UINT32_MAX;  // not written
    uint64_t text = 0;            // stands for all tokens up to this one
  };
  struct Known {
    std::vector<uint32_t> tokens;
    std::vector<uint32_t> blocks;
    uint32_t num_prompt_tokens = 0;
    uint32_t num_computed = 0;
    uint64_t sample_step_id = 0;  // the newest step that sampled
    uint32_t num_cached = 0;
    v1::SamplingParams sampling;
  };

  void Forget(uint64_t sequence_id);
  void Learn(const v1::NewSequence& learned);
  void AddBlock(uint32_t block, Known* known);
  const Slot& SlotOf(const Known& known, uint64_t position) const;
  Slot& SlotOf(const Known& known, uint64_t position);
  // Writes the chunk's slots and reads all up to its end.
  void ReadAndWrite(const v1::SequenceChunk& chunk, const Known& known);
  void RunChunk(const v1::SequenceChunk& chunk, v1::StepReport* report);
  // Appends the token that the last stage would hand to the first.
  void FeedBack(const v1::SequenceChunk& chunk, Known* known);
  uint32_t NextToken(const Known& known) const;
  void AddPromptLogprobs(const Known& known, const v1::SequenceChunk& chunk,
                         v1::StepReport* report) const;
  void Violate(std::string what);

  const Options options_;
  uint64_t epoch_ = 0;
  uint32_t num_blocks_ = 0;
  uint64_t last_step_id_ = 0;
  uint64_t num_computed_tokens_ = 0;
  std::map<uint64_t, Known> sequences_;
  std::map<uint32_t, uint32_t> holders_;  // block -> sequences that hold it
  std::vector<Slot> cache_;
  std::vector<std::string> violations_;
};

}  // namespace baton
