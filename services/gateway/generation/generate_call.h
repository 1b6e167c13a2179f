// One live sequence: submitted to the scheduler, its tokens turned into text as they come.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "common/tokenizer/tokenizer.h"
#include "protos/baton/v1/scheduling.pb.h"
#include "services/gateway/clients/scheduler_client.h"
#include "services/gateway/generation/text_assembler.h"
#include "services/gateway/metrics/gateway_metrics.h"
#include "services/gateway/metrics/sequence_meter.h"
#include "services/gateway/text/tool_call_parser.h"

namespace baton::gateway {

// What arrived together. Reasoning comes before everything else of an answer; content and calls are
// in the order of answer_order.h.
struct SequenceUpdate {
  std::string content;    // new text of the answer: valid UTF-8, never part of a stop string
  std::string reasoning;  // new text of the reasoning
  // What is new of the calls in the answer, at their places in `content`.
  std::vector<ToolCallPiece> tool_calls;
  std::vector<v1::GeneratedToken> tokens;
  std::vector<v1::PositionLogprobs> prompt_logprobs;  // with the first token only, if asked for
  bool first = false;                                 // the first update of the sequence
  // In the last update; FINISH_REASON_UNSPECIFIED before it. STOP or LENGTH.
  v1::FinishReason finish_reason = v1::FINISH_REASON_UNSPECIFIED;
  std::string stop_string;                // the stop string that ended the sequence, if one did
  std::optional<uint32_t> stop_token_id;  // the stop token that did, if it is no end-of-sequence
};

// Both may drop what they are called for only after they have returned.
class SequenceObserver {
 public:
  virtual ~SequenceObserver() = default;
  virtual void OnUpdate(size_t index, SequenceUpdate& update) = 0;
  // The sequence will not end well; nothing follows.
  virtual void OnFailure(size_t index, const absl::Status& status) = 0;
};

struct SequenceSpec {
  size_t index = 0;  // the observer's name for the sequence
  v1::SubmitRequest submit;
  TextOptions text;
  MonotonicTime arrival;  // of the request
  SubmitOptions options;
};

struct SequenceUsage {
  uint32_t num_prompt_tokens = 0;
  uint32_t num_cached_tokens = 0;
  uint32_t num_generated_tokens = 0;
  uint32_t num_reasoning_tokens = 0;  // of the generated ones
};

// All on the executor's thread. Destroying it cancels the sequence at once.
class GenerateCall final : public SubmitObserver {
 public:
  // All references must outlive this.
  GenerateCall(SchedulerClient& scheduler, const Tokenizer& tokenizer, GatewayMetrics& metrics,
               SequenceObserver& observer, SequenceSpec spec);
  ~GenerateCall() override;

  void Start();
  // While paused the observer hears nothing, and little is read from the scheduler.
  void SetPaused(bool paused);

  bool ended() const { return ended_; }
  const SequenceUsage& usage() const { return usage_; }

  void OnResponses(std::vector<v1::SubmitResponse>& responses) override;
  void OnDone(const absl::Status& status) override;

 private:
  // False once a stop string is complete: later tokens do not count.
  bool Take(v1::SubmitResponse& response, SequenceUpdate* update);
  void TakeToken(v1::GeneratedToken&& token, SequenceUpdate* update);
  void Finish(v1::FinishReason reason, SequenceUpdate* update);
  static void Append(TextDelta&& delta, SequenceUpdate* update);
  void Fail(const absl::Status& status);

  SchedulerClient& scheduler_;
  SequenceObserver& observer_;
  SequenceSpec spec_;  // without its text options, which text_ has
  TextAssembler text_;
  SequenceMeter meter_;
  SequenceUsage usage_;
  bool ended_ = false;
  bool failing_ = false;  // the scheduler announced an error; its status follows
  std::unique_ptr<SubmitStream> stream_;
};

}  // namespace baton::gateway
