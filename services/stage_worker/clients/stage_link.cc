#include "services/stage_worker/clients/stage_link.h"

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "common/status/status_macros.h"

namespace baton::stage {

absl::StatusOr<std::unique_ptr<StageLink>> StageLink::Create(Transport* transport,
                                                             const StageLinkOptions& options) {
  std::unique_ptr<StageLink> link(new StageLink(transport, options));
  const SlotShape shape = {.num_slots = static_cast<size_t>(options.max_steps_in_flight),
                           .num_ranks = static_cast<size_t>(options.num_ranks),
                           .max_part_bytes = link->PartBytes(options.max_step_tokens),
                           .least_rate = options.least_rate};
  if (options.has_previous) {
    ASSIGN_OR_RETURN(link->receiver_, SlotReceiver::Create(transport, shape));
  }
  if (options.has_next) {
    ASSIGN_OR_RETURN(link->sender_, SlotSender::Create(transport, shape));
  }
  return link;
}

absl::Status StageLink::EndEpoch(absl::Time deadline) {
  local_epoch_ = 0;
  if (receiver_ != nullptr) RETURN_IF_ERROR(receiver_->EndEpoch(deadline));
  if (sender_ != nullptr) RETURN_IF_ERROR(sender_->EndEpoch(deadline));
  return absl::OkStatus();
}

absl::Status StageLink::BeginEpoch(const LinkEpoch& epoch, absl::Time deadline) {
  if (receiver_ != nullptr) RETURN_IF_ERROR(receiver_->BeginEpoch(epoch.frame_epoch));
  if (sender_ != nullptr) RETURN_IF_ERROR(ConnectNext(epoch, deadline));
  received_.Reset();
  sent_.Reset();
  local_epoch_ = epoch.local_epoch;
  frame_epoch_ = epoch.frame_epoch;
  return absl::OkStatus();
}

absl::Status StageLink::ConnectNext(const LinkEpoch& epoch, absl::Time deadline) {
  if (epoch.next_addresses.size() != static_cast<size_t>(options_.num_ranks)) {
    return absl::InvalidArgumentError(absl::StrCat("the topology names ",
                                                   epoch.next_addresses.size(), " addresses for ",
                                                   options_.num_ranks, " ranks"));
  }
  std::vector<std::shared_ptr<Peer>> peers;
  std::set<std::string> names;
  std::set<std::string> transports;
  for (const std::string& address : epoch.next_addresses) {
    absl::StatusOr<std::shared_ptr<Peer>> peer = transport_->Connect(address, deadline);
    if (!peer.ok()) return Annotate(peer.status(), "reaching the next stage over UCX");
    names.insert((*peer)->name());
    transports.insert((*peer)->DescribeTransport());
    peers.push_back(*std::move(peer));
  }
  description_ = absl::StrCat(options_.num_ranks, " ranks to ", absl::StrJoin(names, ", "),
                              " over ", absl::StrJoin(transports, ", "));
  return sender_->BeginEpoch(epoch.frame_epoch, std::move(peers));
}

void StageLink::Abort(const absl::Status& reason) {
  if (receiver_ != nullptr) receiver_->Abort(reason);
  if (sender_ != nullptr) sender_->Abort(reason);
}

void StageLink::StepNumbers::Reset() {
  const absl::MutexLock lock(&mutex_);
  last_ = 0;
  numbers_.clear();
}

uint64_t StageLink::StepNumbers::NumberOf(uint64_t step_id) {
  // No rank is further behind another than the steps in flight, which are far fewer.
  constexpr size_t kMaxRecent = 1024;
  const absl::MutexLock lock(&mutex_);
  const auto [place, is_new] = numbers_.try_emplace(step_id, last_ + 1);
  if (is_new) ++last_;
  const uint64_t number = place->second;
  if (numbers_.size() > kMaxRecent) numbers_.erase(numbers_.begin());
  return number;
}

std::optional<uint64_t> StageLink::StepNumbers::Find(uint64_t step_id) const {
  const absl::MutexLock lock(&mutex_);
  const auto found = numbers_.find(step_id);
  if (found == numbers_.end()) return std::nullopt;
  return found->second;
}

bool StageLink::IsAwaited(uint64_t step_id) const {
  const std::optional<uint64_t> number = received_.Find(step_id);
  return receiver_ != nullptr && number.has_value() && receiver_->IsAwaited(*number);
}

bool StageLink::LacksCredit(uint64_t step_id) const {
  const std::optional<uint64_t> number = sent_.Find(step_id);
  return sender_ != nullptr && number.has_value() && sender_->LacksCredit(*number);
}

absl::StatusOr<PartKey> StageLink::PartOf(const HiddenStateKey& key, StepNumbers& numbers) const {
  if (key.epoch != local_epoch_.load()) {
    return absl::CancelledError(absl::StrCat("epoch ", key.epoch, " has ended"));
  }
  return PartKey{.epoch = frame_epoch_.load(),
                 .number = numbers.NumberOf(key.step_id),
                 .step_id = key.step_id,
                 .rank = static_cast<size_t>(key.rank)};
}

size_t StageLink::PartBytes(int64_t num_tokens) const {
  return static_cast<size_t>(num_tokens * options_.part_columns) * SizeOf(options_.type);
}

TensorView StageLink::ViewOf(std::span<std::byte> part, int64_t num_tokens) const {
  return {part.data(), options_.type, num_tokens, options_.part_columns, options_.part_columns};
}

absl::StatusOr<TensorView> StageLink::Receive(const HiddenStateKey& key, int64_t num_tokens,
                                              absl::Time deadline) {
  ASSIGN_OR_RETURN(const PartKey part_key, PartOf(key, received_));
  ASSIGN_OR_RETURN(const std::span<std::byte> part,
                   receiver_->Receive(part_key, PartBytes(num_tokens), deadline));
  return ViewOf(part, num_tokens);
}

void StageLink::Release(const HiddenStateKey& key) {
  const absl::StatusOr<PartKey> part_key = PartOf(key, received_);
  if (part_key.ok()) receiver_->Release(*part_key);
}

absl::StatusOr<TensorView> StageLink::Acquire(const HiddenStateKey& key, int64_t num_tokens,
                                              absl::Time deadline) {
  ASSIGN_OR_RETURN(const PartKey part_key, PartOf(key, sent_));
  ASSIGN_OR_RETURN(const std::span<std::byte> part,
                   sender_->Acquire(part_key, PartBytes(num_tokens), deadline));
  return ViewOf(part, num_tokens);
}

absl::Status StageLink::Send(const HiddenStateKey& key) {
  ASSIGN_OR_RETURN(const PartKey part_key, PartOf(key, sent_));
  return sender_->Send(part_key);
}

}  // namespace baton::stage
