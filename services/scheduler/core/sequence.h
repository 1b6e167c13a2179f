// One sequence: its tokens and how far the stages have come with them. The scheduler's copy is the
// journal; whatever the stages hold can be made again from it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "services/scheduler/core/block_hash.h"
#include "services/scheduler/core/core_time.h"

namespace baton::scheduler {

using SequenceId = uint64_t;
using TokenId = uint32_t;
using BlockId = uint32_t;
using StepId = uint64_t;

// When a sequence ends; meanings as StopParams in types.proto.
struct StopRule {
  uint32_t max_tokens = 1;
  uint32_t min_tokens = 0;
  std::vector<TokenId> stop_token_ids;
  bool ignore_eos = false;
};

// A token id on the wire, at most: a varint of 32 bits.
inline constexpr uint64_t kTokenWireBytes = 5;

// What the caller asks for.
struct SequenceRequest {
  SequenceId id = 0;
  std::vector<TokenId> prompt;
  std::vector<TokenId> resumed;  // generated before this scheduler knew the sequence
  StopRule stop;
  int32_t priority = 0;  // lower runs first
  std::string fairness_key;
  uint32_t fairness_weight = 1;  // its key's share against that of others; at least 1
  TimeUs deadline = kNever;      // not worth computing any more from then on
  std::string cache_salt;
  // What the stages have to be told of it besides its tokens, on the wire.
  uint64_t settings_bytes = 0;
  bool reads_cache = true;  // false: every token is to be computed, cached or not
};

enum class FinishCause {
  kStop,
  kLength,
  kFailed,
  kInvalid,     // it asks for what cannot be had: its caller has to change it
  kExpired,     // its deadline passed
  kRefused,     // it waited, and had to make room
  kOverloaded,  // it ran, and a stage has no room for it now beside others
  kNotCarried,  // the link between the stages was cut, time and again, when they computed it
};

// How a sequence ended.
struct Ending {
  FinishCause cause = FinishCause::kStop;
  std::optional<TokenId> stop_token;  // the stop token, unless it is an end-of-sequence token
  std::string message;                // kFailed, kInvalid, kRefused, kOverloaded, kNotCarried: why
};

// Tokens fall into three ranges, by position:
//   [0, num_scheduled)            KV is computed, or ordered by a step in flight
//   [num_scheduled, num_tokens)   to be computed
//   num_tokens                    sampled next, once the last known token is computed
// While a step in flight samples the token at num_tokens, the step that computes it may be ordered
// already: the token is pending then, num_scheduled is num_tokens + 1, and the stages hand it from
// the one step to the other themselves. There is at most one pending token.
// The stages may guess what stands behind the newest token: drafts. The step that computes that
// token may take some along; of those that prove right the KV is computed with it. Drafts are no
// tokens: they are forgotten with the next step, and when the sequence restarts.
class Sequence final {
 public:
  enum class State {
    kWaiting,  // in the queue; the stages do not know it
    kRunning,  // holds blocks and a place
    kPaused,   // holds blocks, but gave its place to another key; no step takes it
    // Its caller does not take its tokens: no step takes it, and it has no place. It holds blocks
    // until others need them; then the stages do not know it.
    kSuspended,
    kEnding,  // over, but a step in flight still writes its blocks
  };

  Sequence(SequenceRequest request, uint64_t arrival);

  SequenceId id() const { return request_.id; }
  int32_t priority() const { return request_.priority; }
  uint64_t arrival() const { return arrival_; }
  const StopRule& stop() const { return request_.stop; }
  const std::string& fairness_key() const { return request_.fairness_key; }
  uint32_t fairness_weight() const { return request_.fairness_weight; }
  TimeUs deadline() const { return request_.deadline; }
  const std::string& cache_salt() const { return request_.cache_salt; }
  bool reads_cache() const { return request_.reads_cache; }

  const std::vector<TokenId>& tokens() const { return tokens_; }
  uint32_t num_tokens() const { return static_cast<uint32_t>(tokens_.size()); }
  uint32_t num_prompt_tokens() const { return num_prompt_tokens_; }
  // Includes resumed tokens.
  uint32_t num_generated() const { return num_tokens() - num_prompt_tokens_; }
  // The first tokens, in whole blocks of the prompt, which the stages compute in the expanded form;
  // those behind them in the absorbed one. Nullopt: the stages have one form for all.
  std::optional<uint32_t> num_expanded() const { return num_expanded_; }
  void SetNumExpanded(std::optional<uint32_t> num_tokens);
  // The next token to be computed is one of them.
  bool expands_next() const { return num_scheduled_ < num_expanded_.value_or(0); }

  State state() const { return state_; }
  void set_state(State state) { state_ = state; }
  uint32_t num_scheduled() const { return num_scheduled_; }
  // Guesses of the stages of the tokens from num_tokens on.
  const std::vector<TokenId>& drafts() const { return drafts_; }
  void SetDrafts(std::vector<TokenId> drafts) { drafts_ = std::move(drafts); }
  // Tokens that the stages were told, or hand on themselves; 0: they do not know the sequence.
  uint32_t num_told() const { return num_told_; }
  // What telling the stages of it takes on the wire, at most.
  uint64_t told_bytes() const {
    return request_.settings_bytes + uint64_t{num_tokens()} * kTokenWireBytes;
  }
  // Known tokens that are to be computed.
  uint32_t num_to_compute() const {
    return num_scheduled_ < num_tokens() ? num_tokens() - num_scheduled_ : 0;
  }
  uint32_t num_steps_in_flight() const { return num_steps_in_flight_; }
  // Last step that it took part in; 0: none since it began to run.
  StepId last_step() const { return last_step_; }
  // The step that was formed when it began to run; it may have no part in it. 0: it does not run.
  StepId begin_step() const { return begin_step_; }
  // Last step in which its key had its turn among prompts of the class, whichever of them had it;
  // the one in which it got its place, if that was later. 0: it does not run.
  StepId last_turn() const { return last_turn_; }
  void set_last_turn(StepId step) { last_turn_ = step; }
  // Stages lost, one after the other, while a step with it was in flight and before it got one more
  // token: whatever is computed next for it may be what brings them down.
  uint32_t num_losses() const { return num_losses_; }
  // Likewise, links between stages that were cut: it may be what they do not carry.
  uint32_t num_cut_links() const { return num_cut_links_; }
  // Something can be computed now.
  bool runnable() const { return state_ == State::kRunning && num_to_compute() > 0; }
  // All but the newest token is computed, and that one was generated.
  bool decoding() const { return num_to_compute() <= 1 && num_generated() > 0 && num_told_ > 0; }
  // The step in flight that samples the token at num_tokens, if the token can become pending: every
  // known token is ordered, and no further one is pending. 0: there is none.
  StepId feedback_step() const {
    const bool next = state_ == State::kRunning && num_scheduled_ == num_tokens();
    return next && num_samples_in_flight_ == 1 ? sample_step_ : 0;
  }

  // What stands for the first `num_blocks` blocks of known tokens. Each hash is made once, as long
  // as the tokens that are expanded stay the same.
  const BlockHash& HashOfBlocks(size_t num_blocks, const BlockHasher& hasher);

  // It has run before, perhaps in another epoch.
  bool has_begun() const { return has_begun_; }
  // It begins when `step` is formed, behind its first `num_cached` tokens, whose KV is there
  // already.
  void Begin(uint32_t num_cached, StepId step = 0);
  // `step` computes the next `num_tokens`, and samples if these are all that are known; the stages
  // are told every known token with it.
  void Advance(uint32_t num_tokens, StepId step);
  // `step` computes the token that feedback_step() samples, and samples the one behind it.
  void AdvancePending(StepId step);
  // One step that it took part in is done on every stage.
  void FinishStep();
  // The oldest step in flight that samples has sampled `token`.
  void AppendToken(TokenId token);
  // The token appended before was a draft, and that step has sampled `token` behind it.
  void AppendBehindDraft(TokenId token);
  void CountLoss() { ++num_losses_; }
  void CountCutLink() { ++num_cut_links_; }
  // How often it gave up its blocks for another key.
  uint32_t num_yields() const { return num_yields_; }
  void CountYield() { ++num_yields_; }
  // The stages forget it; everything is to be computed anew. No step of it may be in flight on a
  // stage that still counts.
  void Restart();

 private:
  const uint64_t arrival_;
  const uint32_t num_prompt_tokens_;
  std::vector<TokenId> tokens_;
  std::vector<TokenId> drafts_;
  SequenceRequest request_;  // without prompt and resumed, which are in tokens_
  State state_ = State::kWaiting;
  uint32_t num_scheduled_ = 0;
  uint32_t num_told_ = 0;
  uint32_t num_steps_in_flight_ = 0;
  uint32_t num_samples_in_flight_ = 0;  // of these steps: 2 with a pending token
  StepId sample_step_ = 0;              // the newest step that samples
  StepId last_step_ = 0;
  StepId begin_step_ = 0;
  StepId last_turn_ = 0;
  uint32_t num_losses_ = 0;
  uint32_t num_cut_links_ = 0;
  uint32_t num_yields_ = 0;
  bool has_begun_ = false;
  std::optional<uint32_t> num_expanded_;
  std::vector<BlockHash> hashes_;  // entry i stands for the first i blocks
};

// The order in which sequences are served, and the reverse of that in which they are preempted.
struct ServedBefore {
  bool operator()(const Sequence* a, const Sequence* b) const {
    if (a->priority() != b->priority()) return a->priority() < b->priority();
    return a->arrival() < b->arrival();
  }
};

}  // namespace baton::scheduler
