// One sequence: its tokens and how far the stages have come with them. The scheduler's copy is the
// journal; whatever the stages hold can be made again from it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

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

// What the caller asks for.
struct SequenceRequest {
  SequenceId id = 0;
  std::vector<TokenId> prompt;
  std::vector<TokenId> resumed;  // generated before this scheduler knew the sequence
  StopRule stop;
  int32_t priority = 0;  // lower runs first
  std::string fairness_key;
  std::string cache_salt;
};

enum class FinishCause { kStop, kLength, kFailed };

// How a sequence ended.
struct Ending {
  FinishCause cause = FinishCause::kStop;
  std::optional<TokenId> stop_token;  // the stop token, unless it is an end-of-sequence token
  std::string message;                // kFailed: why
};

// Tokens fall into three ranges, by position:
//   [0, num_scheduled)            KV is computed, or ordered by a step in flight
//   [num_scheduled, num_tokens)   to be computed
//   num_tokens                    sampled next, once the last known token is computed
class Sequence final {
 public:
  enum class State {
    kWaiting,  // in the queue; the stages do not know it
    kRunning,  // holds blocks
    kEnding,   // over, but a step in flight still writes its blocks
  };

  Sequence(SequenceRequest request, uint64_t arrival);

  SequenceId id() const { return request_.id; }
  int32_t priority() const { return request_.priority; }
  uint64_t arrival() const { return arrival_; }
  const StopRule& stop() const { return request_.stop; }
  const std::string& fairness_key() const { return request_.fairness_key; }
  const std::string& cache_salt() const { return request_.cache_salt; }

  const std::vector<TokenId>& tokens() const { return tokens_; }
  uint32_t num_tokens() const { return static_cast<uint32_t>(tokens_.size()); }
  uint32_t num_prompt_tokens() const { return num_prompt_tokens_; }
  // Includes resumed tokens.
  uint32_t num_generated() const { return num_tokens() - num_prompt_tokens_; }

  State state() const { return state_; }
  void set_state(State state) { state_ = state; }
  uint32_t num_scheduled() const { return num_scheduled_; }
  // Tokens that the stages were told; 0: they do not know the sequence.
  uint32_t num_told() const { return num_told_; }
  uint32_t num_to_compute() const { return num_tokens() - num_scheduled_; }
  uint32_t num_steps_in_flight() const { return num_steps_in_flight_; }
  // Last step that it took part in; 0: none since it began to run.
  StepId last_step() const { return last_step_; }
  // Stages lost, one after the other, while a step with it was in flight and before it got one more
  // token: whatever is computed next for it may be what brings them down.
  uint32_t num_losses() const { return num_losses_; }
  // Something can be computed now.
  bool runnable() const { return state_ == State::kRunning && num_to_compute() > 0; }
  // All but the newest token is computed, and that one was generated.
  bool decoding() const { return num_to_compute() <= 1 && num_generated() > 0 && num_told_ > 0; }

  // `step` computes the next `num_tokens`; the stages are told every known token with it.
  void Advance(uint32_t num_tokens, StepId step);
  // One step that it took part in is done on every stage.
  void FinishStep();
  void AppendToken(TokenId token) {
    tokens_.push_back(token);
    num_losses_ = 0;
  }
  void CountLoss() { ++num_losses_; }
  // The stages forget it; everything is to be computed anew. No step of it may be in flight on a
  // stage that still counts.
  void Restart();

 private:
  const uint64_t arrival_;
  const uint32_t num_prompt_tokens_;
  std::vector<TokenId> tokens_;
  SequenceRequest request_;  // without prompt and resumed, which are in tokens_
  State state_ = State::kWaiting;
  uint32_t num_scheduled_ = 0;
  uint32_t num_told_ = 0;
  uint32_t num_steps_in_flight_ = 0;
  StepId last_step_ = 0;
  uint32_t num_losses_ = 0;
};

// The order in which sequences are served, and the reverse of that in which they are preempted.
struct ServedBefore {
  bool operator()(const Sequence* a, const Sequence* b) const {
    if (a->priority() != b->priority()) return a->priority() < b->priority();
    return a->arrival() < b->arrival();
  }
};

}  // namespace baton::scheduler
