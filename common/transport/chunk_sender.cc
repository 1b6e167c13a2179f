#include "common/transport/chunk_sender.h"

#include <array>
#include <map>
#include <optional>
#include <random>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"

#include "common/concurrency/steady_mutex.h"
#include "common/log/check.h"
#include "common/log/log.h"
#include "common/status/status_macros.h"
#include "common/transport/lent_memory.h"

namespace baton {
namespace {

constexpr size_t kMaxReasonBytes = 512;
// How long chunks under way may end by themselves before the connection is broken.
constexpr absl::Duration kGrace = absl::Seconds(1);

uint64_t RandomName() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

struct Chunk {
  uint32_t slice_index = 0;
  uint64_t offset = 0;
  std::span<const std::byte> payload;
  LentMemory memory;  // where the payload is, and its checksum
  ChunkSender::Done done;
};

// A chunk is finished when UCX has let go of its memory and the receiver has answered.
struct InFlight {
  Chunk chunk;
  bool lent = false;
  std::array<std::byte, kLentMemoryBytes> lent_payload = {};  // while lent
  int num_sending = 1;                                        // frames that UCX has
  std::optional<absl::Status> answer;
};

// Whether the receiver can copy from this process's memory.
enum class Lending { kUntried, kTrying, kWorks, kFails };

class UcxChunkSender final : public ChunkSender, public FrameReceiver {
 public:
  UcxChunkSender(Transport* transport, std::shared_ptr<Peer> peer, uint64_t transfer_id,
                 ChunkSenderOptions options)
      : transport_(transport),
        peer_(std::move(peer)),
        transfer_id_(transfer_id),
        name_(RandomName()),
        options_(options),
        mark_{.source = transport->source(), .name = name_} {
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
  std::string DescribeTransport() const override;

  // Answers of the receiver.
  absl::StatusOr<std::span<std::byte>> Accept(const FrameHeader& header) override;
  void Complete(const FrameHeader& header, const absl::Status& status) override;
  void PeerLost(uint64_t source) override;

 private:
  // Enters the chunk among those in flight, where it stays until UCX and the receiver are done.
  absl::StatusOr<InFlight*> Reserve(Chunk chunk, absl::Time deadline, uint64_t* sequence);
  bool ChooseLending(size_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Post(uint64_t sequence, InFlight& in_flight);
  // After the receiver's word that it cannot copy: sends the bytes. False: it is no such chunk.
  bool SendBytes(uint64_t sequence, absl::string_view reason);
  void OnSent(uint64_t sequence, const absl::Status& status);
  // Takes a chunk out once both halves are there; calls its `done` without the lock.
  void Settle(uint64_t sequence, std::optional<absl::Status> answer, bool sent);
  void FailAll(const absl::Status& reason);
  // Nothing is lent any more: memory goes back to its owners.
  void SetFirstError(const absl::Status& reason) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!first_error_.ok() || reason.ok()) return;
    first_error_ = reason;
    mark_ = {};
  }
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
  LenderMark mark_;  // the receiver looks at it; written to with the lock held
  std::map<uint64_t, InFlight> in_flight_ ABSL_GUARDED_BY(mutex_);  // by sequence
  size_t in_flight_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  Lending lending_ ABSL_GUARDED_BY(mutex_) = Lending::kUntried;
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

absl::StatusOr<InFlight*> UcxChunkSender::Reserve(Chunk chunk, absl::Time deadline,
                                                  uint64_t* sequence) {
  const size_t bytes = chunk.payload.size();
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
  in_flight_bytes_ += bytes;
  InFlight& entered = in_flight_[*sequence];
  entered.chunk = std::move(chunk);
  entered.lent = ChooseLending(bytes);
  return &entered;
}

bool UcxChunkSender::ChooseLending(size_t bytes) {
  if (!options_.lends || bytes < kMinLentBytes) return false;
  if (lending_ != Lending::kUntried) return lending_ == Lending::kWorks;
  AllowCopies();
  lending_ = Lending::kTrying;
  return true;
}

absl::Status UcxChunkSender::SendChunk(uint32_t slice_index, uint64_t offset,
                                       std::span<const std::byte> payload, absl::Time deadline,
                                       Done done) {
  uint64_t sequence = 0;
  ASSIGN_OR_RETURN(InFlight * in_flight, Reserve({.slice_index = slice_index,
                                                  .offset = offset,
                                                  .payload = payload,
                                                  .memory = Lend(payload, mark_),
                                                  .done = std::move(done)},
                                                 deadline, &sequence));
  Post(sequence, *in_flight);
  return absl::OkStatus();
}

void UcxChunkSender::Post(uint64_t sequence, InFlight& in_flight) {
  const Chunk& chunk = in_flight.chunk;
  FrameHeader header = {.kind = FrameKind::kWeightChunk,
                        .epoch = name_,
                        .stream_id = transfer_id_,
                        .sequence = sequence,
                        .offset = chunk.offset,
                        .total_bytes = chunk.offset + chunk.payload.size(),
                        .slot = chunk.slice_index,
                        .payload_crc = chunk.memory.crc};
  std::span<const std::byte> payload = chunk.payload;
  const bool lent = in_flight.lent;
  if (lent) {
    in_flight.lent_payload = EncodeLentMemory(chunk.memory);
    payload = in_flight.lent_payload;
    header.kind = FrameKind::kLentChunk;
  }
  peer_->Send(
      header, payload, [this, sequence](const absl::Status& status) { OnSent(sequence, status); },
      /*has_payload_crc=*/!lent);
}

bool UcxChunkSender::SendBytes(uint64_t sequence, absl::string_view reason) {
  InFlight* in_flight = nullptr;
  {
    const SteadyMutexLock lock(&mutex_);
    const auto found = in_flight_.find(sequence);
    if (found == in_flight_.end() || !found->second.lent || !first_error_.ok()) return false;
    lending_ = Lending::kFails;
    in_flight = &found->second;
    in_flight->lent = false;
    ++in_flight->num_sending;
  }
  BATON_LOG(INFO) << peer_->name() << " gets its bytes over UCX: " << reason;
  Post(sequence, *in_flight);
  return true;
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
    if (answer.has_value()) SetFirstError(*answer);
    const auto found = in_flight_.find(sequence);
    if (found == in_flight_.end()) return;
    InFlight& chunk = found->second;
    if (sent) --chunk.num_sending;
    if (answer.has_value() && !chunk.answer.has_value()) chunk.answer = std::move(answer);
    if (!first_error_.ok() && !chunk.answer.has_value()) chunk.answer = first_error_;
    if (chunk.num_sending > 0 || !chunk.answer.has_value()) return;
    finished = std::move(chunk);
    in_flight_.erase(found);
    in_flight_bytes_ -= finished.chunk.payload.size();
    if (finished.answer->ok()) {
      taken_bytes_ += finished.chunk.payload.size();
      if (finished.lent && lending_ == Lending::kTrying) lending_ = Lending::kWorks;
    }
    ++num_calling_;
  }
  if (finished.chunk.done) finished.chunk.done(*finished.answer);
  const SteadyMutexLock lock(&mutex_);
  --num_calling_;
}

void UcxChunkSender::FailAll(const absl::Status& reason) {
  std::vector<uint64_t> sequences;
  {
    const SteadyMutexLock lock(&mutex_);
    SetFirstError(reason);
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

std::string UcxChunkSender::DescribeTransport() const {
  const std::string ucx = peer_->DescribeTransport();
  const SteadyMutexLock lock(&mutex_);
  return lending_ == Lending::kWorks ? absl::StrCat("lent memory, ", ucx) : ucx;
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
  const auto code = static_cast<absl::StatusCode>(header.code);
  if (code == absl::StatusCode::kUnimplemented && SendBytes(header.sequence, reason)) return;
  const absl::Status refusal(code, absl::StrCat(peer_->name(), " refuses a chunk: ", reason));
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
