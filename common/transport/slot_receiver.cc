#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
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

constexpr absl::Duration kLandingGrace = absl::Seconds(1);
constexpr double kLeastTcpRate = 25e6;  // bytes a second
constexpr double kLeastOtherRate = 1e9;

enum class ReceivedPart { kAbsent, kLanding, kReady, kReleased };

struct ReceiverSlot {
  uint64_t number = 0;       // of the object; 0: nothing has come
  uint64_t step_id = 0;      // whose it is
  uint64_t total_bytes = 0;  // of the step's object
  std::vector<ReceivedPart> parts;
  absl::Status error;
};

class UcxSlotReceiver final : public SlotReceiver, public FrameReceiver {
 public:
  UcxSlotReceiver(Transport* transport, const SlotShape& shape)
      : transport_(transport),
        shape_(shape),
        frames_(FramesOf(shape.content)),
        slot_bytes_(shape.num_ranks * shape.max_part_bytes),
        memory_(shape.num_slots * slot_bytes_),
        slots_(shape.num_slots),
        source_of_rank_(shape.num_ranks) {
    for (ReceiverSlot& slot : slots_) slot.parts.resize(shape.num_ranks);
    transport_->SetReceiver(frames_.object, this);
  }
  ~UcxSlotReceiver() override { transport_->SetReceiver(frames_.object, nullptr); }

  absl::Status EndEpoch(absl::Time deadline) override;
  absl::Status BeginEpoch(uint64_t epoch) override;
  absl::StatusOr<std::span<std::byte>> Receive(const PartKey& key, size_t bytes,
                                               absl::Time deadline) override;
  void Release(const PartKey& key) override;
  void Abort(const absl::Status& reason) override;
  absl::Time quiet_since() const override {
    const SteadyMutexLock lock(&mutex_);
    return quiet_since_;
  }

  bool IsAwaited(uint64_t number) const override;

  absl::StatusOr<std::span<std::byte>> Accept(const FrameHeader& header) override;
  void Complete(const FrameHeader& header, const absl::Status& status) override;
  void PeerLost(uint64_t source) override;

 private:
  // The connections that frames came over, by source. Not those that a source may have by now.
  using Senders = std::map<uint64_t, std::shared_ptr<Peer>>;

  ReceiverSlot& SlotOf(uint64_t number) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return slots_[number % shape_.num_slots];
  }
  std::byte* MemoryOf(uint64_t number) {
    return memory_.data() + (number % shape_.num_slots) * slot_bytes_;
  }
  bool InWindow(uint64_t number) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return number > released_ && number - released_ <= shape_.num_slots;
  }
  // The ranks whose parts a frame carries, [first, last).
  absl::StatusOr<std::pair<size_t, size_t>> RanksOf(const FrameHeader& header) const;
  // OK if these ranks' parts come from the source that sent their first of this epoch.
  absl::Status CheckSource(const FrameHeader& header, std::pair<size_t, size_t> ranks) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckSlot(const FrameHeader& header) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DropEpoch() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // A payload has begun to land, or has ended.
  void CountLanding(uint64_t begun_bytes, uint64_t ended_bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Payloads come from a source whose connection is new in this epoch.
  void LearnRate(uint64_t source, const std::shared_ptr<Peer>& sender) ABSL_LOCKS_EXCLUDED(mutex_);
  // Breaks these connections. Their names.
  std::string CutOff(const Senders& senders);

  Transport* const transport_;
  const SlotShape shape_;
  const SlotFrames frames_;
  const size_t slot_bytes_;
  AlignedBuffer memory_;

  mutable SteadyMutex mutex_;  // never held while the transport is called
  std::vector<ReceiverSlot> slots_ ABSL_GUARDED_BY(mutex_);
  uint64_t epoch_ ABSL_GUARDED_BY(mutex_) = 0;
  // DropEpoch was the last: nothing of an older epoch is left.
  bool is_dropped_ ABSL_GUARDED_BY(mutex_) = true;
  uint64_t released_ ABSL_GUARDED_BY(mutex_) = 0;  // all objects up to it are released
  size_t num_landing_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t landing_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  double least_rate_ ABSL_GUARDED_BY(mutex_) = kLeastOtherRate;  // of all senders' links
  absl::Time quiet_since_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  std::vector<std::optional<uint64_t>> source_of_rank_ ABSL_GUARDED_BY(mutex_);  // of this epoch
  Senders senders_ ABSL_GUARDED_BY(mutex_);                                      // of this epoch
  absl::Status aborted_ ABSL_GUARDED_BY(mutex_);
};

void UcxSlotReceiver::DropEpoch() {
  for (ReceiverSlot& slot : slots_) {
    slot.number = 0;
    slot.error = absl::OkStatus();
    std::fill(slot.parts.begin(), slot.parts.end(), ReceivedPart::kAbsent);
  }
  released_ = 0;
  quiet_since_ = absl::InfinitePast();
  least_rate_ = kLeastOtherRate;
  senders_.clear();
  std::fill(source_of_rank_.begin(), source_of_rank_.end(), std::nullopt);
  aborted_ = absl::OkStatus();
  is_dropped_ = true;
}

void UcxSlotReceiver::CountLanding(uint64_t begun_bytes, uint64_t ended_bytes) {
  landing_bytes_ += begun_bytes;
  landing_bytes_ -= ended_bytes;
  const double rate = shape_.least_rate > 0 ? shape_.least_rate : least_rate_;
  quiet_since_ = SteadyNow() + absl::Seconds(static_cast<double>(landing_bytes_) / rate);
}

void UcxSlotReceiver::LearnRate(uint64_t source, const std::shared_ptr<Peer>& sender) {
  {
    const SteadyMutexLock lock(&mutex_);
    if (senders_.contains(source)) return;
  }
  const double rate = LeastRateOf(sender != nullptr ? sender->DescribeTransport() : "");
  const SteadyMutexLock lock(&mutex_);
  least_rate_ = std::min(least_rate_, rate);
}

std::string UcxSlotReceiver::CutOff(const Senders& senders) {
  std::vector<std::string> names;
  for (const auto& [source, peer] : senders) {
    names.push_back(peer != nullptr ? peer->name() : absl::StrCat("source ", source));
    if (peer == nullptr) continue;
    peer->Fail(absl::DeadlineExceededError(
        absl::StrCat(peer->name(), " stopped in the middle of ", frames_.name)));
  }
  return absl::StrJoin(names, ", ");
}

absl::Status UcxSlotReceiver::EndEpoch(absl::Time deadline) {
  const auto landed = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return num_landing_ == 0; };
  Senders late;
  {
    const SteadyMutexLock lock(&mutex_);
    epoch_ = 0;  // refuses every frame until the slots are free
    const absl::Time grace = std::min(deadline, SteadyNow() + kLandingGrace);
    if (!mutex_.AwaitWithDeadline(absl::Condition(&landed), grace)) late = senders_;
  }
  const std::string names = CutOff(late);
  const SteadyMutexLock lock(&mutex_);
  if (!mutex_.AwaitWithDeadline(absl::Condition(&landed), deadline)) {
    return absl::DeadlineExceededError(
        absl::StrCat(num_landing_, " frames of ", frames_.name,
                     " are still landing, though their senders were cut off: ", names));
  }
  DropEpoch();
  return absl::OkStatus();
}

absl::Status UcxSlotReceiver::BeginEpoch(uint64_t epoch) {
  if (epoch == 0) return absl::InvalidArgumentError("epoch 0 stands for none");
  const SteadyMutexLock lock(&mutex_);
  if (!is_dropped_) {
    return absl::FailedPreconditionError(
        absl::StrCat("epoch ", epoch, " cannot begin: an older one has not ended"));
  }
  is_dropped_ = false;
  epoch_ = epoch;
  return absl::OkStatus();
}

absl::StatusOr<std::pair<size_t, size_t>> UcxSlotReceiver::RanksOf(
    const FrameHeader& header) const {
  const uint64_t part_bytes = header.total_bytes / shape_.num_ranks;
  if (header.total_bytes == 0 || header.total_bytes > slot_bytes_ ||
      header.total_bytes % shape_.num_ranks != 0) {
    return absl::InvalidArgumentError(absl::StrCat("a step of ", header.total_bytes,
                                                   " bytes for a slot of ", slot_bytes_, " in ",
                                                   shape_.num_ranks, " parts"));
  }
  if (header.payload_bytes == 0 || header.payload_bytes % part_bytes != 0 ||
      header.rank >= shape_.num_ranks || header.offset != header.rank * part_bytes) {
    return absl::InvalidArgumentError("not whole parts of a step");
  }
  return std::pair<size_t, size_t>(header.rank, header.rank + header.payload_bytes / part_bytes);
}

absl::Status UcxSlotReceiver::CheckSlot(const FrameHeader& header) const {
  if (epoch_ == 0) return absl::FailedPreconditionError("this stage is in no epoch");
  if (header.epoch != epoch_) {
    return absl::FailedPreconditionError(absl::StrCat("this stage is in epoch ", epoch_));
  }
  if (!InWindow(header.sequence) || header.slot != header.sequence % shape_.num_slots) {
    return absl::OutOfRangeError(absl::StrCat("slots wait for objects ", released_ + 1, " to ",
                                              released_ + shape_.num_slots));
  }
  return absl::OkStatus();
}

absl::Status UcxSlotReceiver::CheckSource(const FrameHeader& header,
                                          std::pair<size_t, size_t> ranks) const {
  for (size_t rank = ranks.first; rank < ranks.second; ++rank) {
    if (source_of_rank_[rank].value_or(header.source) == header.source) continue;
    return absl::PermissionDeniedError(
        absl::StrCat("another source sends the parts of rank ", rank, " in epoch ", epoch_));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::span<std::byte>> UcxSlotReceiver::Accept(const FrameHeader& header) {
  std::shared_ptr<Peer> sender = transport_->FindPeer(header.source);
  LearnRate(header.source, sender);
  const SteadyMutexLock lock(&mutex_);
  RETURN_IF_ERROR(CheckSlot(header));
  std::pair<size_t, size_t> ranks;
  ASSIGN_OR_RETURN(ranks, RanksOf(header));
  RETURN_IF_ERROR(CheckSource(header, ranks));
  ReceiverSlot& slot = SlotOf(header.sequence);
  if (slot.number == header.sequence &&
      (slot.total_bytes != header.total_bytes || slot.step_id != header.stream_id)) {
    return absl::InvalidArgumentError("parts of one object disagree about it");
  }
  for (size_t rank = ranks.first; rank < ranks.second; ++rank) {
    if (slot.parts[rank] != ReceivedPart::kAbsent) {
      return absl::AlreadyExistsError(absl::StrCat("the part of rank ", rank, " came before"));
    }
  }
  for (size_t rank = ranks.first; rank < ranks.second; ++rank) {
    slot.parts[rank] = ReceivedPart::kLanding;
    source_of_rank_[rank] = header.source;
  }
  slot.number = header.sequence;
  slot.step_id = header.stream_id;
  slot.total_bytes = header.total_bytes;
  senders_[header.source] = std::move(sender);
  ++num_landing_;
  CountLanding(header.payload_bytes, 0);
  return std::span(MemoryOf(header.sequence) + header.offset, header.payload_bytes);
}

void UcxSlotReceiver::Complete(const FrameHeader& header, const absl::Status& status) {
  const SteadyMutexLock lock(&mutex_);
  --num_landing_;
  CountLanding(0, header.payload_bytes);
  if (header.epoch != epoch_) return;
  ReceiverSlot& slot = SlotOf(header.sequence);
  if (!status.ok()) {
    slot.error = Annotate(status, absl::StrCat(frames_.name, " of step ", header.stream_id));
    return;
  }
  const size_t num_parts = header.payload_bytes / (header.total_bytes / shape_.num_ranks);
  for (size_t rank = header.rank; rank < header.rank + num_parts; ++rank) {
    slot.parts[rank] = ReceivedPart::kReady;
  }
}

absl::StatusOr<std::span<std::byte>> UcxSlotReceiver::Receive(const PartKey& key, size_t bytes,
                                                              absl::Time deadline) {
  const SteadyMutexLock lock(&mutex_);
  if (key.epoch != epoch_ || !InWindow(key.number) || key.rank >= shape_.num_ranks) {
    return absl::FailedPreconditionError(absl::StrCat("step ", key.step_id, " of epoch ", key.epoch,
                                                      ", rank ", key.rank,
                                                      " is not awaited in epoch ", epoch_));
  }
  ReceiverSlot& slot = SlotOf(key.number);
  const auto settled = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !aborted_.ok() || !slot.error.ok() || slot.parts[key.rank] == ReceivedPart::kReady;
  };
  const bool in_time = mutex_.AwaitWithDeadline(absl::Condition(&settled), deadline);
  RETURN_IF_ERROR(aborted_);
  RETURN_IF_ERROR(slot.error);
  if (!in_time) {
    return absl::DeadlineExceededError(
        absl::StrCat(frames_.name, " of step ", key.step_id, ", rank ", key.rank, " did not come"));
  }
  if (slot.step_id != key.step_id) {
    return absl::DataLossError(absl::StrCat(frames_.name, " of step ", slot.step_id,
                                            " came where those of step ", key.step_id, " are due"));
  }
  if (slot.total_bytes != bytes * shape_.num_ranks) {
    return absl::DataLossError(absl::StrCat(frames_.name, " of step ", key.step_id, " have ",
                                            slot.total_bytes, " bytes, not ",
                                            bytes * shape_.num_ranks));
  }
  return std::span(MemoryOf(key.number) + key.rank * bytes, bytes);
}

void UcxSlotReceiver::Release(const PartKey& key) {
  FrameHeader credit = {.kind = frames_.credit, .epoch = key.epoch};
  std::vector<std::shared_ptr<Peer>> senders;
  {
    const SteadyMutexLock lock(&mutex_);
    if (key.epoch != epoch_ || !InWindow(key.number)) return;
    ReceiverSlot& slot = SlotOf(key.number);
    BATON_CHECK(slot.parts[key.rank] == ReceivedPart::kReady) << "a part that was not received";
    slot.parts[key.rank] = ReceivedPart::kReleased;
    const uint64_t released_before = released_;
    while (true) {
      ReceiverSlot& next = SlotOf(released_ + 1);
      const bool whole = next.number == released_ + 1 &&
                         std::all_of(next.parts.begin(), next.parts.end(), [](ReceivedPart state) {
                           return state == ReceivedPart::kReleased;
                         });
      if (!whole) break;
      next.number = 0;
      std::fill(next.parts.begin(), next.parts.end(), ReceivedPart::kAbsent);
      ++released_;
    }
    if (released_ == released_before) return;
    credit.sequence = released_ + shape_.num_slots;
    for (const auto& [source, sender] : senders_) senders.push_back(sender);
  }
  for (const std::shared_ptr<Peer>& sender : senders) {
    // A credit that cannot be sent means a lost connection, which PeerLost tells.
    if (sender != nullptr) sender->Send(credit, {}, nullptr);
  }
}

bool UcxSlotReceiver::IsAwaited(uint64_t number) const {
  const SteadyMutexLock lock(&mutex_);
  if (epoch_ == 0 || !InWindow(number) || !aborted_.ok()) return false;
  const ReceiverSlot& slot = slots_[number % shape_.num_slots];
  if (!slot.error.ok()) return false;
  return std::any_of(slot.parts.begin(), slot.parts.end(), [](ReceivedPart state) {
    return state == ReceivedPart::kAbsent || state == ReceivedPart::kLanding;
  });
}

void UcxSlotReceiver::Abort(const absl::Status& reason) {
  const SteadyMutexLock lock(&mutex_);
  if (aborted_.ok()) aborted_ = reason;
}

void UcxSlotReceiver::PeerLost(uint64_t source) {
  const SteadyMutexLock lock(&mutex_);
  if (!senders_.contains(source) || !aborted_.ok()) return;
  aborted_ = absl::UnavailableError(
      absl::StrCat("the connection to the stage that sends ", frames_.name, " is lost"));
}

}  // namespace

SlotFrames FramesOf(SlotContent content) {
  switch (content) {
    case SlotContent::kHiddenStates:
      break;
    case SlotContent::kTokens:
      return {FrameKind::kTokens, FrameKind::kTokenCredit, "tokens"};
  }
  return {FrameKind::kHiddenState, FrameKind::kCredit, "hidden states"};
}

double LeastRateOf(absl::string_view transports) {
  // Without a name, as before the connection stands: nothing is known.
  const bool is_named = absl::StrContains(transports, '/');
  return is_named && !absl::StrContains(transports, "tcp") ? kLeastOtherRate : kLeastTcpRate;
}

absl::StatusOr<std::unique_ptr<SlotReceiver>> SlotReceiver::Create(Transport* transport,
                                                                   const SlotShape& shape) {
  if (shape.num_slots == 0 || shape.num_ranks == 0 || shape.max_part_bytes == 0) {
    return absl::InvalidArgumentError("a slot channel needs slots, ranks and bytes");
  }
  return std::make_unique<UcxSlotReceiver>(transport, shape);
}

}  // namespace baton
