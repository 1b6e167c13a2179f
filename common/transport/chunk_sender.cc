#include "common/transport/chunk_sender.h"

#include <map>
#include <optional>
#include <random>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"

#include "common/checksum/crc32c.h"
#include "common/concurrency/steady_mutex.h"
#include "common/log/check.h"
#include "common/status/status_macros.h"

namespace baton {
namespace {

constexpr size_t kMaxReasonBytes = 512;
// How long chunks under way may end by themselves before the connection is broken.
constexpr absl::Duration kGrace = absl::Seconds(1);

uint64_t RandomName() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

// A chunk is finished when UCX has let go of its memory and the receiver has answered.
struct InFlight {
  size_t bytes = 0;
  ChunkSender::Done done;
  bool sent = false;
  std::optional<absl::Status> answer;
};

class UcxChunkSender final : public ChunkSender, public FrameReceiver {
 public:
  UcxChunkSender(Transport* transport, std::shared_ptr<Peer> peer, uint64_t transfer_id,
                 ChunkSenderOptions options)
      : transport_(transport),
        peer_(std::move(peer)),
        transfer_id_(transfer_id),
        name_(RandomName()),
        options_(options) {
    transport_->SetStreamReceiver(FrameKind::kChunkAnswer, name_, this);
  }

  ~UcxChunkSender() override;

  absl::Status SendChunk(uint32_t slice_index, uint64_t offset, std::span<const std::byte> payload,
                         absl::Time deadline, Done done) override;
  absl::Status Finish(absl::Time deadline) override;
  void Cancel(const absl::Status& reason) override;
  uint64_t taken_bytes() const override {
    const SteadyMutexLock lock(&mutex_);
    return taken_bytes_;
  }
  std::string DescribeTransport() const override { return peer_->DescribeTransport(); }

  // Answers of the receiver.
  absl::StatusOr<std::span<std::byte>> Accept(const FrameHeader& header) override;
  void Complete(const FrameHeader& header, const absl::Status& status) override;
  void PeerLost(uint64_t source) override;

 private:
  absl::Status Reserve(size_t bytes, absl::Time deadline, Done done, uint64_t* sequence);
  void OnSent(uint64_t sequence, const absl::Status& status);
  // Takes a chunk out once both halves are there; calls its `done` without the lock.
  void Settle(uint64_t sequence, std::optional<absl::Status> answer, bool sent);
  void FailAll(const absl::Status& reason);
  bool HasRoom(size_t bytes) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !first_error_.ok() || in_flight_.empty() ||
           (in_flight_.size() < options_.max_in_flight_chunks &&
            in_flight_bytes_ + bytes <= options_.max_in_flight_bytes);
  }
  bool IsIdle() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return in_flight_.empty() && num_calling_ == 0;
  }

  Transport* const transport_;
  const std::shared_ptr<Peer> peer_;
  const uint64_t transfer_id_;
  const uint64_t name_;  // routes answers back to this object
  const ChunkSenderOptions options_;
  std::byte reason_[kMaxReasonBytes];  // transport's thread only

  mutable SteadyMutex mutex_;
  std::map<uint64_t, InFlight> in_flight_ ABSL_GUARDED_BY(mutex_);  // by sequence
  size_t in_flight_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  int num_calling_ ABSL_GUARDED_BY(mutex_) = 0;  // `done`s that are being called
  uint64_t next_sequence_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t taken_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status first_error_ ABSL_GUARDED_BY(mutex_);
};

UcxChunkSender::~UcxChunkSender() {
  Cancel(absl::CancelledError("the sender of the transfer has gone"));
  bool idle = false;
  {
    const SteadyMutexLock lock(&mutex_);
    idle = mutex_.AwaitWithTimeout(absl::Condition(this, &UcxChunkSender::IsIdle), kGrace);
  }
  if (!idle) {
    peer_->Fail(absl::DeadlineExceededError(
        absl::StrCat(peer_->name(), " takes no bytes of transfer ", transfer_id_)));
    const SteadyMutexLock lock(&mutex_);
    BATON_CHECK(mutex_.AwaitWithTimeout(absl::Condition(this, &UcxChunkSender::IsIdle),
                                        options_.memory_return_limit))
        << "UCX still reads chunks of transfer " << transfer_id_;
  }
  transport_->SetStreamReceiver(FrameKind::kChunkAnswer, name_, nullptr);
}

absl::Status UcxChunkSender::Reserve(size_t bytes, absl::Time deadline, Done done,
                                     uint64_t* sequence) {
  const SteadyMutexLock lock(&mutex_);
  const auto room = [this, bytes]()
                        ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return HasRoom(bytes); };
  if (!mutex_.AwaitWithDeadline(absl::Condition(&room), deadline)) {
    return absl::DeadlineExceededError(
        absl::StrCat(peer_->name(), " has not taken ", in_flight_bytes_, " bytes in ",
                     in_flight_.size(), " chunks of transfer ", transfer_id_));
  }
  if (!first_error_.ok()) return first_error_;
  *sequence = next_sequence_++;
  in_flight_.emplace(*sequence, InFlight{.bytes = bytes, .done = std::move(done)});
  in_flight_bytes_ += bytes;
  return absl::OkStatus();
}

absl::Status UcxChunkSender::SendChunk(uint32_t slice_index, uint64_t offset,
                                       std::span<const std::byte> payload, absl::Time deadline,
                                       Done done) {
  FrameHeader header = {.kind = FrameKind::kWeightChunk,
                        .epoch = name_,
                        .stream_id = transfer_id_,
                        .offset = offset,
                        .total_bytes = offset + payload.size(),
                        .slot = slice_index,
                        .payload_crc = Crc32c(payload)};
  RETURN_IF_ERROR(Reserve(payload.size(), deadline, std::move(done), &header.sequence));
  peer_->Send(
      header, payload,
      [this, sequence = header.sequence](const absl::Status& status) { OnSent(sequence, status); },
      /*has_payload_crc=*/true);
  return absl::OkStatus();
}

void UcxChunkSender::OnSent(uint64_t sequence, const absl::Status& status) {
  if (status.ok()) return Settle(sequence, std::nullopt, /*sent=*/true);
  Settle(sequence, status, /*sent=*/true);
  FailAll(status);
}

void UcxChunkSender::Settle(uint64_t sequence, std::optional<absl::Status> answer, bool sent) {
  InFlight finished;
  {
    const SteadyMutexLock lock(&mutex_);
    if (answer.has_value() && first_error_.ok()) first_error_ = *answer;
    const auto found = in_flight_.find(sequence);
    if (found == in_flight_.end()) return;
    InFlight& chunk = found->second;
    chunk.sent = chunk.sent || sent;
    if (answer.has_value() && !chunk.answer.has_value()) chunk.answer = std::move(answer);
    if (!first_error_.ok() && !chunk.answer.has_value()) chunk.answer = first_error_;
    if (!chunk.sent || !chunk.answer.has_value()) return;
    finished = std::move(chunk);
    in_flight_.erase(found);
    in_flight_bytes_ -= finished.bytes;
    if (finished.answer->ok()) taken_bytes_ += finished.bytes;
    ++num_calling_;
  }
  if (finished.done) finished.done(*finished.answer);
  const SteadyMutexLock lock(&mutex_);
  --num_calling_;
}

void UcxChunkSender::FailAll(const absl::Status& reason) {
  std::vector<uint64_t> sequences;
  {
    const SteadyMutexLock lock(&mutex_);
    if (first_error_.ok()) first_error_ = reason;
    for (const auto& [sequence, chunk] : in_flight_) sequences.push_back(sequence);
  }
  for (const uint64_t sequence : sequences) Settle(sequence, std::nullopt, /*sent=*/false);
}

absl::Status UcxChunkSender::Finish(absl::Time deadline) {
  const SteadyMutexLock lock(&mutex_);
  if (!mutex_.AwaitWithDeadline(absl::Condition(this, &UcxChunkSender::IsIdle), deadline)) {
    return absl::DeadlineExceededError(absl::StrCat(
        peer_->name(), " has not answered ", in_flight_.size(), " chunks of ", transfer_id_));
  }
  return first_error_;
}

void UcxChunkSender::Cancel(const absl::Status& reason) { FailAll(reason); }

absl::StatusOr<std::span<std::byte>> UcxChunkSender::Accept(const FrameHeader& header) {
  if (header.source != peer_->source()) {
    return absl::PermissionDeniedError("answer from somebody else than the receiver");
  }
  if (header.payload_bytes > kMaxReasonBytes) {
    return absl::InvalidArgumentError("reason is too long");
  }
  return std::span(reason_, header.payload_bytes);
}

void UcxChunkSender::Complete(const FrameHeader& header, const absl::Status& status) {
  if (!status.ok()) return FailAll(status);
  if (header.code == 0) return Settle(header.sequence, absl::OkStatus(), /*sent=*/false);
  const absl::string_view reason(reinterpret_cast<const char*>(reason_), header.payload_bytes);
  const absl::Status refusal(static_cast<absl::StatusCode>(header.code),
                             absl::StrCat(peer_->name(), " refuses a chunk: ", reason));
  Settle(header.sequence, refusal, /*sent=*/false);
  FailAll(refusal);
}

void UcxChunkSender::PeerLost(uint64_t source) {
  if (source == peer_->source()) FailAll(peer_->status());
}

}  // namespace

absl::StatusOr<std::unique_ptr<ChunkSender>> ChunkSender::Create(Transport* transport,
                                                                 absl::string_view address,
                                                                 uint64_t transfer_id,
                                                                 absl::Time deadline,
                                                                 ChunkSenderOptions options) {
  ASSIGN_OR_RETURN(std::shared_ptr<Peer> peer, transport->Connect(address, deadline));
  return std::make_unique<UcxChunkSender>(transport, std::move(peer), transfer_id, options);
}

}  // namespace baton
