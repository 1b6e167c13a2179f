#include "services/stage_worker/clients/token_link.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"

namespace baton::stage {

absl::StatusOr<std::unique_ptr<TokenLink>> TokenLink::Create(Transport* transport,
                                                             const TokenLinkOptions& options) {
  std::unique_ptr<TokenLink> link(new TokenLink(transport));
  const SlotShape shape = {
      .num_slots = NumTokenSlots(options.max_steps_in_flight),
      .num_ranks = 1,
      .max_part_bytes = static_cast<size_t>(options.max_step_sequences) * sizeof(uint32_t),
      .content = SlotContent::kTokens};
  if (options.receives) {
    ASSIGN_OR_RETURN(link->receiver_, SlotReceiver::Create(transport, shape));
  }
  if (options.sends) {
    ASSIGN_OR_RETURN(link->sender_, SlotSender::Create(transport, shape));
  }
  return link;
}

absl::Status TokenLink::EndEpoch(absl::Time deadline) {
  local_epoch_ = 0;
  if (receiver_ != nullptr) RETURN_IF_ERROR(receiver_->EndEpoch(deadline));
  if (sender_ != nullptr) RETURN_IF_ERROR(sender_->EndEpoch(deadline));
  return absl::OkStatus();
}

absl::Status TokenLink::BeginEpoch(const LinkEpoch& epoch, absl::Time deadline) {
  if (receiver_ != nullptr) RETURN_IF_ERROR(receiver_->BeginEpoch(epoch.frame_epoch));
  if (sender_ != nullptr) {
    absl::StatusOr<std::shared_ptr<Peer>> peer = transport_->Connect(epoch.first_address, deadline);
    if (!peer.ok()) return Annotate(peer.status(), "reaching the first stage over UCX");
    RETURN_IF_ERROR(sender_->BeginEpoch(epoch.frame_epoch, {*std::move(peer)}));
  }
  last_number_ = 0;
  local_epoch_ = epoch.local_epoch;
  frame_epoch_ = epoch.frame_epoch;
  return absl::OkStatus();
}

void TokenLink::Abort(const absl::Status& reason) {
  if (receiver_ != nullptr) receiver_->Abort(reason);
  if (sender_ != nullptr) sender_->Abort(reason);
}

absl::StatusOr<PartKey> TokenLink::NextPart(const TokenKey& key) {
  if (key.epoch != local_epoch_.load()) {
    return absl::CancelledError(absl::StrCat("epoch ", key.epoch, " has ended"));
  }
  return PartKey{.epoch = frame_epoch_.load(), .number = ++last_number_, .step_id = key.step_id};
}

absl::StatusOr<std::vector<uint32_t>> TokenLink::Receive(const TokenKey& key, size_t num_tokens,
                                                         absl::Time deadline) {
  std::vector<uint32_t> tokens(num_tokens);
  const size_t bytes = num_tokens * sizeof(uint32_t);
  ASSIGN_OR_RETURN(const PartKey part_key, NextPart(key));
  ASSIGN_OR_RETURN(const std::span<std::byte> part, receiver_->Receive(part_key, bytes, deadline));
  std::memcpy(tokens.data(), part.data(), bytes);
  receiver_->Release(part_key);
  return tokens;
}

absl::Status TokenLink::Send(const TokenKey& key, std::span<const uint32_t> tokens,
                             absl::Time deadline) {
  ASSIGN_OR_RETURN(const PartKey part_key, NextPart(key));
  ASSIGN_OR_RETURN(const std::span<std::byte> part,
                   sender_->Acquire(part_key, tokens.size_bytes(), deadline));
  std::memcpy(part.data(), tokens.data(), tokens.size_bytes());
  return sender_->Send(part_key);
}

}  // namespace baton::stage
