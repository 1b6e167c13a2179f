// The way of sampled tokens from the last stage to the first over UCX, as the executor sees it: a
// source on the first stage, a sink on the last, nothing in between or with one stage.
//
// A slot channel of its own, in the other direction than the hidden states' and between rank 0 of
// either stage: 4 bytes, little-endian, for each token of a step.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/transport/slot_channel.h"
#include "common/transport/transport.h"
#include "services/stage_worker/clients/link_epoch.h"
#include "services/stage_worker/execution/token_channel.h"

namespace baton::stage {

// The first stage begins step s with the tokens of all steps up to s - max_steps_in_flight in, and
// the last stage is at no step that the first has not done. So fewer steps' tokens than are in
// flight wait in slots when the next are sent: half of the slots would do. The scheduler's
// LinkWatch relies on it: a last stage that lacks a credit for a step that the first one has done
// has been sent it.
constexpr size_t NumTokenSlots(int64_t max_steps_in_flight) {
  return 2 * static_cast<size_t>(max_steps_in_flight);
}

struct TokenLinkOptions {
  bool receives = false;  // the first of several stages
  bool sends = false;     // the last of several stages
  int64_t max_step_sequences = 0;
  int64_t max_steps_in_flight = 1;
};

// Threads: EndEpoch, BeginEpoch and Abort from the control thread, the rest from rank 0's device
// thread.
class TokenLink final : public TokenSource, public TokenSink {
 public:
  // `transport` must outlive the link. Errors: InvalidArgument (sizes).
  static absl::StatusOr<std::unique_ptr<TokenLink>> Create(Transport* transport,
                                                           const TokenLinkOptions& options);

  // Leaves the epoch and drops everything of it; may break connections to neighbours that hang.
  // Errors: DeadlineExceeded.
  absl::Status EndEpoch(absl::Time deadline);
  // Connects to the first stage. Errors: FailedPrecondition (the old epoch has not ended),
  // DeadlineExceeded, Unavailable (it cannot be reached), InvalidArgument (address).
  absl::Status BeginEpoch(const LinkEpoch& epoch, absl::Time deadline);
  // Ends all waits of this epoch.
  void Abort(const absl::Status& reason);

  TokenSource* source() { return receiver_ != nullptr ? this : nullptr; }
  TokenSink* sink() { return sender_ != nullptr ? this : nullptr; }
  // As SlotReceiver::quiet_since; InfinitePast where no tokens come. Any thread.
  absl::Time quiet_since() const {
    return receiver_ != nullptr ? receiver_->quiet_since() : absl::InfinitePast();
  }
  // Whether the tokens that were asked for last have yet to come, or may not be sent yet: see
  // SlotReceiver::IsAwaited and SlotSender::LacksCredit. Any thread.
  bool IsAwaited() const { return receiver_ != nullptr && receiver_->IsAwaited(last_number_); }
  bool LacksCredit() const { return sender_ != nullptr && sender_->LacksCredit(last_number_); }

  absl::StatusOr<std::vector<uint32_t>> Receive(const TokenKey& key, size_t num_tokens,
                                                absl::Time deadline) override;
  absl::Status Send(const TokenKey& key, std::span<const uint32_t> tokens,
                    absl::Time deadline) override;

 private:
  explicit TokenLink(Transport* transport) : transport_(transport) {}

  // The next object's key.
  absl::StatusOr<PartKey> NextPart(const TokenKey& key);

  Transport* const transport_;
  std::unique_ptr<SlotReceiver> receiver_;
  std::unique_ptr<SlotSender> sender_;
  // Written while no device is in a step of this link.
  std::atomic<uint64_t> local_epoch_{0};
  std::atomic<uint64_t> frame_epoch_{0};
  std::atomic<uint64_t> last_number_{0};  // of the epoch's objects
};

}  // namespace baton::stage
