#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"

#include "common/concurrency/steady_mutex.h"
#include "common/concurrency/steady_time.h"
#include "common/log/check.h"
#include "common/status/status_macros.h"
#include "common/tensor/aligned_buffer.h"
#include "common/transport/slot_channel.h"

namespace baton {
namespace {

// How long sends of an old epoch may end by themselves before their connection is broken.
constexpr absl::Duration kSendGrace = absl::Milliseconds(200);

enum class SentPart { kFree, kAcquired, kFilled };

struct SenderSlot {
  uint64_t number = 0;     // of the object; 0: free
  size_t part_bytes = 0;   // of this object
  size_t num_filled = 0;   // parts handed to Send
  size_t num_sending = 0;  // frames that UCX still holds
  std::vector<SentPart> parts;
};

// Consecutive ranks [begin, end) whose parts go to the same peer.
struct Group {
  size_t begin = 0;
  size_t end = 0;
  std::shared_ptr<Peer> peer;
};

class UcxSlotSender final : public SlotSender, public FrameReceiver {
 public:
  UcxSlotSender(Transport* transport, const SlotShape& shape, absl::Duration memory_return_limit)
      : transport_(transport),
        memory_return_limit_(memory_return_limit),
        shape_(shape),
        frames_(FramesOf(shape.content)),
        slot_bytes_(shape.num_ranks * shape.max_part_bytes),
        memory_(shape.num_slots * slot_bytes_),
        slots_(shape.num_slots) {
    for (SenderSlot& slot : slots_) slot.parts.resize(shape.num_ranks);
    transport_->SetReceiver(frames_.credit, this);
  }
  ~UcxSlotSender() override {
    // UCX may read the memory until then.
    BATON_CHECK_OK(EndEpoch(SteadyNow() + memory_return_limit_));
    transport_->SetReceiver(frames_.credit, nullptr);
  }

  absl::Status EndEpoch(absl::Time deadline) override;
  absl::Status BeginEpoch(uint64_t epoch, std::vector<std::shared_ptr<Peer>> peers) override;
  absl::StatusOr<std::span<std::byte>> Acquire(const PartKey& key, size_t bytes,
                                               absl::Time deadline) override;
  absl::Status Send(const PartKey& key) override;
  void Abort(const absl::Status& reason) override;

  bool LacksCredit(uint64_t number) const override {
    const SteadyMutexLock lock(&mutex_);
    return epoch_ != 0 && aborted_.ok() && !MaySend(number);
  }

  absl::StatusOr<std::span<std::byte>> Accept(const FrameHeader& header) override;
  void Complete(const FrameHeader& header, const absl::Status& status) override;
  void PeerLost(uint64_t source) override;

 private:
  std::byte* MemoryOf(uint64_t number) {
    return memory_.data() + (number % shape_.num_slots) * slot_bytes_;
  }
  void DropEpoch() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // UCX holds no memory of this object.
  bool IsQuiet() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckKey(const PartKey& key) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  uint64_t LastAllowed() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // There is a credit for the object, and its slot is free or its own.
  bool MaySend(uint64_t number) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const SenderSlot& slot = slots_[number % shape_.num_slots];
    return number <= LastAllowed() && (slot.number == 0 || slot.number == number);
  }
  void OnSent(uint64_t number, const absl::Status& status);

  Transport* const transport_;
  const absl::Duration memory_return_limit_;
  const SlotShape shape_;
  const SlotFrames frames_;
  const size_t slot_bytes_;
  AlignedBuffer memory_;

  mutable SteadyMutex mutex_;  // never held while the transport is called
  std::vector<SenderSlot> slots_ ABSL_GUARDED_BY(mutex_);
  std::vector<Group> groups_ ABSL_GUARDED_BY(mutex_);
  std::vector<size_t> group_of_rank_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, uint64_t> granted_ ABSL_GUARDED_BY(mutex_);  // last object, by source
  uint64_t epoch_ ABSL_GUARDED_BY(mutex_) = 0;
  // DropEpoch was the last: nothing of an older epoch is left.
  bool is_dropped_ ABSL_GUARDED_BY(mutex_) = true;
  absl::Status aborted_ ABSL_GUARDED_BY(mutex_);
};

bool UcxSlotSender::IsQuiet() const {
  return std::all_of(slots_.begin(), slots_.end(),
                     [](const SenderSlot& slot) { return slot.num_sending == 0; });
}

void UcxSlotSender::DropEpoch() {
  groups_.clear();
  group_of_rank_.clear();
  granted_.clear();
  for (SenderSlot& slot : slots_) {
    slot.number = 0;
    std::fill(slot.parts.begin(), slot.parts.end(), SentPart::kFree);
  }
  aborted_ = absl::OkStatus();
  is_dropped_ = true;
}

absl::Status UcxSlotSender::EndEpoch(absl::Time deadline) {
  std::set<std::shared_ptr<Peer>> peers;
  {
    const SteadyMutexLock lock(&mutex_);
    epoch_ = 0;  // nothing is sent any more
    const absl::Time grace = std::min(deadline, SteadyNow() + kSendGrace);
    if (mutex_.AwaitWithDeadline(absl::Condition(this, &UcxSlotSender::IsQuiet), grace)) {
      DropEpoch();
      return absl::OkStatus();
    }
    for (const Group& group : groups_) peers.insert(group.peer);
  }
  std::vector<std::string> names;
  for (const std::shared_ptr<Peer>& peer : peers) {
    names.push_back(peer->name());
    peer->Fail(absl::DeadlineExceededError(absl::StrCat(peer->name(), " takes no ", frames_.name)));
  }
  const SteadyMutexLock lock(&mutex_);
  if (mutex_.AwaitWithDeadline(absl::Condition(this, &UcxSlotSender::IsQuiet), deadline)) {
    DropEpoch();
    return absl::OkStatus();
  }
  return absl::DeadlineExceededError(
      absl::StrCat(frames_.name, " of an older epoch are still being sent, though the connection ",
                   "was cut off: ", absl::StrJoin(names, ", ")));
}

absl::Status UcxSlotSender::BeginEpoch(uint64_t epoch, std::vector<std::shared_ptr<Peer>> peers) {
  if (epoch == 0) return absl::InvalidArgumentError("epoch 0 stands for none");
  if (peers.size() != shape_.num_ranks) {
    return absl::InvalidArgumentError(
        absl::StrCat(peers.size(), " peers for ", shape_.num_ranks, " ranks"));
  }
  std::vector<uint64_t> sources;  // asked without the lock: the transport calls us under its own
  for (const std::shared_ptr<Peer>& peer : peers) sources.push_back(peer->source());
  {
    const SteadyMutexLock lock(&mutex_);
    if (!is_dropped_) {
      return absl::FailedPreconditionError(
          absl::StrCat("epoch ", epoch, " cannot begin: an older one has not ended"));
    }
    for (size_t rank = 0; rank < peers.size(); ++rank) {
      if (groups_.empty() || groups_.back().peer != peers[rank]) {
        groups_.push_back({.begin = rank, .end = rank, .peer = peers[rank]});
        granted_[sources[rank]] = shape_.num_slots;
      }
      ++groups_.back().end;
      group_of_rank_.push_back(groups_.size() - 1);
    }
    is_dropped_ = false;
    epoch_ = epoch;
  }
  // PeerLost tells of losses from here on; one may have come before.
  for (const std::shared_ptr<Peer>& peer : peers) RETURN_IF_ERROR(peer->status());
  return absl::OkStatus();
}

absl::Status UcxSlotSender::CheckKey(const PartKey& key) const {
  if (key.epoch != epoch_) {
    return absl::FailedPreconditionError(
        absl::StrCat("a part of epoch ", key.epoch, " in epoch ", epoch_));
  }
  if (key.rank >= shape_.num_ranks || key.number == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("step ", key.step_id, " rank ", key.rank, " of ", shape_.num_ranks));
  }
  return aborted_;
}

uint64_t UcxSlotSender::LastAllowed() const {
  uint64_t last = std::numeric_limits<uint64_t>::max();
  for (const auto& [source, number] : granted_) last = std::min(last, number);
  return last;
}

absl::StatusOr<std::span<std::byte>> UcxSlotSender::Acquire(const PartKey& key, size_t bytes,
                                                            absl::Time deadline) {
  if (bytes == 0 || bytes > shape_.max_part_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a part of ", bytes, " bytes; slots take ", shape_.max_part_bytes));
  }
  const SteadyMutexLock lock(&mutex_);
  RETURN_IF_ERROR(CheckKey(key));
  SenderSlot& slot = slots_[key.number % shape_.num_slots];
  const auto free = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !aborted_.ok() || MaySend(key.number);
  };
  const bool in_time = mutex_.AwaitWithDeadline(absl::Condition(&free), deadline);
  RETURN_IF_ERROR(aborted_);
  if (!in_time) {
    return absl::DeadlineExceededError(absl::StrCat(
        "the receiving stage gives no credit for ", frames_.name, " of step ", key.step_id,
        " (object ", key.number, "; credit ends at ", LastAllowed(), ")"));
  }
  if (slot.number == key.number && slot.part_bytes != bytes) {
    return absl::InvalidArgumentError("parts of one object differ in size");
  }
  if (slot.parts[key.rank] != SentPart::kFree) {
    return absl::FailedPreconditionError("the part was acquired before");
  }
  if (slot.number == 0) slot.num_filled = 0;
  slot.number = key.number;
  slot.part_bytes = bytes;
  slot.parts[key.rank] = SentPart::kAcquired;
  return std::span(MemoryOf(key.number) + key.rank * bytes, bytes);
}

absl::Status UcxSlotSender::Send(const PartKey& key) {
  FrameHeader header = {.kind = frames_.object,
                        .epoch = key.epoch,
                        .stream_id = key.step_id,
                        .sequence = key.number,
                        .slot = static_cast<uint32_t>(key.number % shape_.num_slots)};
  std::span<const std::byte> payload;
  std::shared_ptr<Peer> peer;
  {
    const SteadyMutexLock lock(&mutex_);
    RETURN_IF_ERROR(CheckKey(key));
    SenderSlot& slot = slots_[key.number % shape_.num_slots];
    if (slot.number != key.number || slot.parts[key.rank] != SentPart::kAcquired) {
      return absl::FailedPreconditionError("a part that was not acquired");
    }
    slot.parts[key.rank] = SentPart::kFilled;
    ++slot.num_filled;
    const Group& group = groups_[group_of_rank_[key.rank]];
    for (size_t rank = group.begin; rank < group.end; ++rank) {
      if (slot.parts[rank] != SentPart::kFilled) return absl::OkStatus();
    }
    ++slot.num_sending;
    header.rank = static_cast<uint32_t>(group.begin);
    header.offset = group.begin * slot.part_bytes;
    header.total_bytes = shape_.num_ranks * slot.part_bytes;
    payload = std::span(MemoryOf(key.number) + header.offset,
                        (group.end - group.begin) * slot.part_bytes);
    peer = group.peer;
  }
  peer->Send(header, payload,
             [this, number = key.number](const absl::Status& status) { OnSent(number, status); });
  return absl::OkStatus();
}

void UcxSlotSender::OnSent(uint64_t number, const absl::Status& status) {
  const SteadyMutexLock lock(&mutex_);
  SenderSlot& slot = slots_[number % shape_.num_slots];
  --slot.num_sending;
  if (!status.ok() && aborted_.ok()) aborted_ = status;
  if (slot.num_sending > 0 || slot.num_filled < shape_.num_ranks) return;
  slot.number = 0;
  std::fill(slot.parts.begin(), slot.parts.end(), SentPart::kFree);
}

absl::StatusOr<std::span<std::byte>> UcxSlotSender::Accept(const FrameHeader& header) {
  const SteadyMutexLock lock(&mutex_);
  if (header.epoch != epoch_) {
    return absl::FailedPreconditionError(absl::StrCat("this stage is in epoch ", epoch_));
  }
  if (header.payload_bytes != 0) return absl::InvalidArgumentError("a credit with a payload");
  if (!granted_.contains(header.source)) {
    return absl::PermissionDeniedError("a credit from somebody else than the receiving stage");
  }
  return std::span<std::byte>();
}

void UcxSlotSender::Complete(const FrameHeader& header, const absl::Status& status) {
  const SteadyMutexLock lock(&mutex_);
  const auto found = granted_.find(header.source);
  if (!status.ok() || header.epoch != epoch_ || found == granted_.end()) return;
  found->second = std::max(found->second, header.sequence);
}

void UcxSlotSender::PeerLost(uint64_t source) {
  const SteadyMutexLock lock(&mutex_);
  if (!granted_.contains(source) || !aborted_.ok()) return;
  aborted_ = absl::UnavailableError(
      absl::StrCat("the connection to the stage that takes ", frames_.name, " is lost"));
}

void UcxSlotSender::Abort(const absl::Status& reason) {
  const SteadyMutexLock lock(&mutex_);
  if (aborted_.ok()) aborted_ = reason;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SlotSender>> SlotSender::Create(Transport* transport,
                                                               const SlotShape& shape,
                                                               absl::Duration memory_return_limit) {
  if (shape.num_slots == 0 || shape.num_ranks == 0 || shape.max_part_bytes == 0) {
    return absl::InvalidArgumentError("a slot channel needs slots, ranks and bytes");
  }
  return std::make_unique<UcxSlotSender>(transport, shape, memory_return_limit);
}

}  // namespace baton
