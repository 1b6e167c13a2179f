#include "common/transport/chunk_receiver.h"

#include <array>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"

#include "common/concurrency/steady_mutex.h"
#include "common/log/check.h"
#include "common/status/status_macros.h"
#include "common/transport/lent_memory.h"

namespace baton {
namespace {

// Who waits for the answer to a chunk.
struct Asker {
  uint64_t source = 0;
  uint64_t stream_id = 0;
  uint64_t sequence = 0;
};

// The chunk that a frame brings or says to be lent, as if it had brought it.
FrameHeader ChunkOf(FrameHeader header) {
  if (header.kind != FrameKind::kLentChunk) return header;
  header.kind = FrameKind::kWeightChunk;
  header.payload_bytes = header.total_bytes - header.offset;
  return header;
}

absl::Status CheckLent(const FrameHeader& header) {
  if (header.kind != FrameKind::kLentChunk) return absl::OkStatus();
  if (header.payload_bytes != kLentMemoryBytes) {
    return absl::InvalidArgumentError("where lent memory lies has another length");
  }
  if (header.total_bytes - header.offset >= kMinLentBytes) return absl::OkStatus();
  return absl::InvalidArgumentError("too few bytes are lent");
}

Asker AskerOf(const FrameHeader& header) {
  return {.source = header.source, .stream_id = header.epoch, .sequence = header.sequence};
}

// A slice some of whose bytes have come.
struct OpenSlice {
  std::span<std::byte> memory;
  std::map<uint64_t, uint64_t> taken;  // begin -> end of what is there or on its way; disjoint
  // (begin, end) of `taken` that could not be copied out of the sender's memory and come over UCX.
  std::set<std::pair<uint64_t, uint64_t>> awaited;
  uint64_t received_bytes = 0;
};

struct Transfer {
  explicit Transfer(bool copies_own_memory) : copier(copies_own_memory) {}

  TransferOptions options;
  LentCopier copier;  // transport's thread only
  uint64_t total_bytes = 0;
  uint64_t received_bytes = 0;
  size_t num_missing = 0;  // slices
  std::vector<bool> arrived;
  std::unordered_map<size_t, OpenSlice> open;    // by slice index
  std::unordered_map<size_t, Asker> unreleased;  // arrived slices that the sink still uses
  std::optional<uint64_t> source;                // who sent the first chunk
  size_t num_landing = 0;                        // chunks accepted and not completed
  bool ending = false;
  absl::Status error;
};

// Enters [begin, end) into `taken`, merging with neighbours; false if it overlaps.
bool TakeRange(std::map<uint64_t, uint64_t>& taken, uint64_t begin, uint64_t end) {
  auto next = taken.lower_bound(begin);
  if (next != taken.end() && next->first < end) return false;
  if (next != taken.begin()) {
    const auto previous = std::prev(next);
    if (previous->second > begin) return false;
    if (previous->second == begin) {
      begin = previous->first;
      taken.erase(previous);
    }
  }
  if (next != taken.end() && next->first == end) {
    end = next->second;
    taken.erase(next);
  }
  taken[begin] = end;
  return true;
}

class UcxChunkReceiver final : public ChunkReceiver, public FrameReceiver {
 public:
  UcxChunkReceiver(Transport* transport, const ChunkReceiverOptions& options)
      : transport_(transport), options_(options) {
    transport_->SetReceiver(FrameKind::kWeightChunk, this);
    transport_->SetReceiver(FrameKind::kLentChunk, this);
  }
  ~UcxChunkReceiver() override {
    transport_->SetReceiver(FrameKind::kLentChunk, nullptr);
    transport_->SetReceiver(FrameKind::kWeightChunk, nullptr);
  }

  absl::Status BeginTransfer(TransferOptions options) override;
  void ReleaseSlice(uint64_t transfer_id, size_t slice_index) override;
  absl::Status WaitComplete(uint64_t transfer_id, absl::Time deadline) override;
  void FailTransfer(uint64_t transfer_id, const absl::Status& reason) override;
  absl::StatusOr<TransferProgress> progress(uint64_t transfer_id) const override;
  void EndTransfer(uint64_t transfer_id) override;

  absl::StatusOr<std::span<std::byte>> Accept(const FrameHeader& header) override;
  void Complete(const FrameHeader& header, const absl::Status& status) override;
  void PeerLost(uint64_t source) override;

 private:
  using Transfers = std::unordered_map<uint64_t, Transfer>;

  absl::StatusOr<std::span<std::byte>> AcceptLocked(const FrameHeader& frame)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<OpenSlice*> Open(Transfer& transfer, size_t slice_index)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Copies the chunk that a frame says is lent. Errors: as LentCopier::Copy.
  absl::Status TakeLent(const FrameHeader& chunk);
  // It cannot be copied: the same range may come once more.
  void Await(const FrameHeader& chunk);
  // The chunk's bytes are in place, or not.
  void CompleteChunk(const FrameHeader& header, const absl::Status& status);
  // True if the chunk completed its slice.
  bool CountIn(Transfer& transfer, const FrameHeader& header) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Answer(const Asker& asker, const absl::Status& status);

  Transport* const transport_;
  const ChunkReceiverOptions options_;
  mutable SteadyMutex mutex_;  // never held while the transport is called
  Transfers transfers_ ABSL_GUARDED_BY(mutex_);
  std::array<std::byte, kLentMemoryBytes> lent_payload_ = {};  // transport's thread only
};

absl::Status UcxChunkReceiver::BeginTransfer(TransferOptions options) {
  if (options.slice_bytes.empty() || options.max_chunk_bytes == 0 || options.sink == nullptr) {
    return absl::InvalidArgumentError("a transfer needs slices, a chunk limit and a sink");
  }
  Transfer transfer(options_.copies_own_memory);
  transfer.num_missing = options.slice_bytes.size();
  transfer.arrived.resize(options.slice_bytes.size());
  for (const uint64_t bytes : options.slice_bytes) {
    if (bytes == 0) return absl::InvalidArgumentError("a transfer has an empty slice");
    transfer.total_bytes += bytes;
  }
  transfer.options = std::move(options);
  const uint64_t id = transfer.options.transfer_id;
  const SteadyMutexLock lock(&mutex_);
  if (!transfers_.emplace(id, std::move(transfer)).second)
    return absl::AlreadyExistsError(absl::StrCat("transfer ", id, " is under way already"));
  return absl::OkStatus();
}

absl::StatusOr<std::span<std::byte>> UcxChunkReceiver::Accept(const FrameHeader& header) {
  absl::StatusOr<std::span<std::byte>> place = absl::InternalError("not looked at");
  {
    const SteadyMutexLock lock(&mutex_);
    place = AcceptLocked(header);
  }
  if (!place.ok()) Answer(AskerOf(header), place.status());
  const bool is_lent = header.kind == FrameKind::kLentChunk;
  return place.ok() && is_lent ? std::span<std::byte>(lent_payload_) : place;
}

absl::StatusOr<std::span<std::byte>> UcxChunkReceiver::AcceptLocked(const FrameHeader& frame) {
  RETURN_IF_ERROR(CheckLent(frame));
  const FrameHeader header = ChunkOf(frame);
  const auto found = transfers_.find(header.stream_id);
  if (found == transfers_.end() || found->second.ending)
    return absl::NotFoundError(absl::StrCat("transfer ", header.stream_id, " is not known here"));
  Transfer& transfer = found->second;
  RETURN_IF_ERROR(transfer.error);
  if (header.slot >= transfer.options.slice_bytes.size()) {
    return absl::InvalidArgumentError(absl::StrCat("slice ", header.slot, " of ",
                                                   transfer.options.slice_bytes.size(), " slices"));
  }
  const uint64_t slice_bytes = transfer.options.slice_bytes[header.slot];
  if (header.payload_bytes == 0 || header.payload_bytes > transfer.options.max_chunk_bytes ||
      header.offset > slice_bytes || header.payload_bytes > slice_bytes - header.offset) {
    return absl::InvalidArgumentError(absl::StrCat("bytes ", header.offset, " + ",
                                                   header.payload_bytes, " of slice ", header.slot,
                                                   ", which has ", slice_bytes));
  }
  if (transfer.arrived[header.slot])
    return absl::AlreadyExistsError(absl::StrCat("slice ", header.slot, " is complete"));
  ASSIGN_OR_RETURN(OpenSlice * slice, Open(transfer, header.slot));
  const uint64_t end = header.offset + header.payload_bytes;
  if (slice->awaited.erase({header.offset, end}) == 0 &&
      !TakeRange(slice->taken, header.offset, end)) {
    return absl::AlreadyExistsError(absl::StrCat("bytes ", header.offset, " + ",
                                                 header.payload_bytes, " of slice ", header.slot,
                                                 " came before"));
  }
  if (!transfer.source.has_value()) transfer.source = header.source;
  ++transfer.num_landing;
  return slice->memory.subspan(header.offset, header.payload_bytes);
}

absl::StatusOr<OpenSlice*> UcxChunkReceiver::Open(Transfer& transfer, size_t slice_index) {
  const auto [place, is_new] = transfer.open.try_emplace(slice_index);
  if (!is_new) return &place->second;
  absl::StatusOr<std::span<std::byte>> memory = transfer.options.sink->Destination(slice_index);
  if (memory.ok() && memory->size() != transfer.options.slice_bytes[slice_index]) {
    memory = absl::InternalError(
        absl::StrCat("slice ", slice_index, " has memory for ", memory->size(), " bytes"));
  }
  if (!memory.ok()) {
    transfer.open.erase(place);
    transfer.error = memory.status();
    return memory.status();
  }
  place->second.memory = *memory;
  return &place->second;
}

bool UcxChunkReceiver::CountIn(Transfer& transfer, const FrameHeader& header) {
  transfer.received_bytes += header.payload_bytes;
  OpenSlice& slice = transfer.open.at(header.slot);
  slice.received_bytes += header.payload_bytes;
  if (slice.received_bytes < transfer.options.slice_bytes[header.slot]) return false;
  transfer.open.erase(header.slot);
  transfer.arrived[header.slot] = true;
  transfer.unreleased.emplace(header.slot, AskerOf(header));
  return true;
}

absl::Status UcxChunkReceiver::TakeLent(const FrameHeader& chunk) {
  std::span<std::byte> place;
  LentCopier* copier = nullptr;
  {
    const SteadyMutexLock lock(&mutex_);
    Transfer& transfer = transfers_.at(chunk.stream_id);  // EndTransfer waits for accepted chunks
    place = transfer.open.at(chunk.slot).memory.subspan(chunk.offset, chunk.payload_bytes);
    copier = &transfer.copier;
  }
  const std::shared_ptr<Peer> lender = transport_->FindPeer(chunk.source);
  absl::Status copied =
      copier->Copy(ParseLentMemory(lent_payload_), {.source = chunk.source, .name = chunk.epoch},
                   place, lender == nullptr ? "a lost partner" : absl::string_view(lender->name()));
  if (copied.ok()) transport_->CountCopied(chunk.payload_bytes);
  return copied;
}

void UcxChunkReceiver::Await(const FrameHeader& chunk) {
  const SteadyMutexLock lock(&mutex_);
  Transfer& transfer = transfers_.at(chunk.stream_id);
  --transfer.num_landing;
  transfer.open.at(chunk.slot).awaited.insert({chunk.offset, chunk.offset + chunk.payload_bytes});
}

void UcxChunkReceiver::Complete(const FrameHeader& header, const absl::Status& status) {
  const FrameHeader chunk = ChunkOf(header);
  if (header.kind != FrameKind::kLentChunk || !status.ok()) return CompleteChunk(chunk, status);
  const absl::Status copied = TakeLent(chunk);
  if (absl::IsUnimplemented(copied)) {
    Await(chunk);
    return Answer(AskerOf(chunk), copied);
  }
  if (!copied.ok()) transport_->Refuse(Annotate(copied, Describe(header)));
  CompleteChunk(chunk, copied);
}

void UcxChunkReceiver::CompleteChunk(const FrameHeader& header, const absl::Status& status) {
  SliceSink* sink = nullptr;  // told of the slice that this chunk completes
  absl::Status answer = status;
  {
    const SteadyMutexLock lock(&mutex_);
    Transfer& transfer = transfers_.at(header.stream_id);  // EndTransfer waits for accepted chunks
    if (!status.ok() && transfer.error.ok())
      transfer.error = Annotate(status, absl::StrCat("slice ", header.slot));
    answer = transfer.error;
    if (answer.ok() && CountIn(transfer, header)) sink = transfer.options.sink;
    if (sink == nullptr) --transfer.num_landing;
  }
  if (sink == nullptr) return Answer(AskerOf(header), answer);
  sink->SliceArrived(header.slot);
  const SteadyMutexLock lock(&mutex_);
  Transfer& transfer = transfers_.at(header.stream_id);
  --transfer.num_landing;
  --transfer.num_missing;
}

void UcxChunkReceiver::ReleaseSlice(uint64_t transfer_id, size_t slice_index) {
  Asker asker;
  {
    const SteadyMutexLock lock(&mutex_);
    const auto found = transfers_.find(transfer_id);
    if (found == transfers_.end()) return;
    const auto waiting = found->second.unreleased.find(slice_index);
    if (waiting == found->second.unreleased.end()) return;
    asker = waiting->second;
    found->second.unreleased.erase(waiting);
  }
  Answer(asker, absl::OkStatus());
}

void UcxChunkReceiver::Answer(const Asker& asker, const absl::Status& status) {
  const std::shared_ptr<Peer> peer = transport_->FindPeer(asker.source);
  if (peer == nullptr) return;
  const auto reason = std::make_shared<std::string>(status.message().substr(0, 512));
  const FrameHeader header = {.kind = FrameKind::kChunkAnswer,
                              .stream_id = asker.stream_id,
                              .sequence = asker.sequence,
                              .total_bytes = reason->size(),
                              .code = static_cast<uint32_t>(status.code())};
  // The payload lives until UCX is done. A lost answer means a lost connection, which PeerLost
  // tells.
  peer->Send(header, std::as_bytes(std::span(*reason)), [reason](const absl::Status&) {});
}

absl::Status UcxChunkReceiver::WaitComplete(uint64_t transfer_id, absl::Time deadline) {
  const SteadyMutexLock lock(&mutex_);
  const auto settled = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto found = transfers_.find(transfer_id);
    return found == transfers_.end() || found->second.ending || !found->second.error.ok() ||
           found->second.num_missing == 0;
  };
  const bool in_time = mutex_.AwaitWithDeadline(absl::Condition(&settled), deadline);
  const auto found = transfers_.find(transfer_id);
  if (found == transfers_.end() || found->second.ending) {
    return absl::NotFoundError(absl::StrCat("transfer ", transfer_id, " is not under way"));
  }
  const Transfer& transfer = found->second;
  RETURN_IF_ERROR(transfer.error);
  if (in_time) return absl::OkStatus();
  return absl::DeadlineExceededError(absl::StrCat("transfer ", transfer_id, " has ",
                                                  transfer.received_bytes, " of ",
                                                  transfer.total_bytes, " bytes"));
}

void UcxChunkReceiver::FailTransfer(uint64_t transfer_id, const absl::Status& reason) {
  const SteadyMutexLock lock(&mutex_);
  const auto found = transfers_.find(transfer_id);
  if (found != transfers_.end() && found->second.error.ok()) found->second.error = reason;
}

absl::StatusOr<TransferProgress> UcxChunkReceiver::progress(uint64_t transfer_id) const {
  const SteadyMutexLock lock(&mutex_);
  const auto found = transfers_.find(transfer_id);
  if (found == transfers_.end()) {
    return absl::NotFoundError(absl::StrCat("transfer ", transfer_id, " is not under way"));
  }
  return TransferProgress{.received_bytes = found->second.received_bytes,
                          .total_bytes = found->second.total_bytes};
}

void UcxChunkReceiver::PeerLost(uint64_t source) {
  const SteadyMutexLock lock(&mutex_);
  for (auto& [id, transfer] : transfers_) {
    if (transfer.source != source || transfer.num_missing == 0 || !transfer.error.ok()) continue;
    transfer.error = absl::UnavailableError(
        absl::StrCat("the sender of transfer ", id, " vanished after ", transfer.received_bytes,
                     " of ", transfer.total_bytes, " bytes"));
  }
}

void UcxChunkReceiver::EndTransfer(uint64_t transfer_id) {
  constexpr absl::Duration kGrace = absl::Seconds(1);
  const auto landed = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return transfers_.at(transfer_id).num_landing == 0;
  };
  std::optional<uint64_t> source;
  {
    const SteadyMutexLock lock(&mutex_);
    const auto found = transfers_.find(transfer_id);
    if (found == transfers_.end() || found->second.ending) return;
    found->second.ending = true;
    if (mutex_.AwaitWithTimeout(absl::Condition(&landed), kGrace)) {
      transfers_.erase(transfer_id);
      return;
    }
    source = found->second.source;
  }
  const std::shared_ptr<Peer> peer = transport_->FindPeer(source.value_or(0));
  if (peer != nullptr) {
    peer->Fail(absl::DeadlineExceededError(
        absl::StrCat(peer->name(), " stopped in the middle of a chunk")));
  }
  const SteadyMutexLock lock(&mutex_);
  BATON_CHECK(mutex_.AwaitWithTimeout(absl::Condition(&landed), options_.memory_return_limit))
      << "UCX still writes to slices of transfer " << transfer_id;
  transfers_.erase(transfer_id);
}

}  // namespace

std::unique_ptr<ChunkReceiver> ChunkReceiver::Create(Transport* transport,
                                                     const ChunkReceiverOptions& options) {
  return std::make_unique<UcxChunkReceiver>(transport, options);
}

}  // namespace baton
