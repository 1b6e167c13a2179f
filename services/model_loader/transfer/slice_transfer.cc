#include "services/model_loader/transfer/slice_transfer.h"

#include <algorithm>
#include <cstring>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/concurrency/steady_time.h"
#include "common/log/check.h"
#include "common/status/status_macros.h"

namespace baton::loader {
namespace {

// Bytes [begin, begin + out.size()) of the dense form of a strided delivery.
void Gather(const Delivery& delivery, std::span<const std::byte> buffer, uint64_t begin,
            std::span<std::byte> out) {
  uint64_t run = begin / delivery.run_bytes;
  uint64_t skip = begin % delivery.run_bytes;
  size_t done = 0;
  while (done < out.size()) {
    const size_t count = std::min<uint64_t>(delivery.run_bytes - skip, out.size() - done);
    const std::span<const std::byte> from =
        buffer.subspan(delivery.buffer_offset + run * delivery.stride + skip, count);
    std::memcpy(out.data() + done, from.data(), count);
    done += count;
    skip = 0;
    ++run;
  }
}

}  // namespace

SliceTransfer::SliceTransfer(const SliceTransferOptions& options, const ReadPlan* plan,
                             RangeReader* reader, std::vector<ChunkSender*> senders,
                             LoadProgress* progress)
    : options_(options),
      plan_(*plan),
      reader_(*reader),
      senders_(std::move(senders)),
      progress_(*progress),
      gather_buffers_(static_cast<size_t>(4 * options.num_threads), options.chunk_bytes),
      budget_(options.max_held_bytes) {
  BATON_CHECK(options.num_threads > 0 && options.chunk_bytes > 0);
}

absl::Status SliceTransfer::Run() {
  std::vector<std::thread> threads;
  for (int i = 0; i < options_.num_threads; ++i) {
    threads.emplace_back(&SliceTransfer::RunThread, this);
  }
  for (std::thread& thread : threads) thread.join();
  for (ChunkSender* sender : senders_) {
    if (failed_.load()) break;
    const absl::Status status = sender->Finish(SteadyNow() + options_.send_deadline);
    if (!status.ok()) Cancel(status);
  }
  return first_error();
}

void SliceTransfer::Cancel(const absl::Status& reason) {
  {
    absl::MutexLock lock(&mutex_);
    if (error_.ok()) error_ = reason;
  }
  failed_.store(true);
  budget_.Cancel();
  reader_.Cancel(&scope_);
  for (ChunkSender* sender : senders_) sender->Cancel(reason);
}

absl::Status SliceTransfer::first_error() const {
  absl::MutexLock lock(&mutex_);
  return error_;
}

void SliceTransfer::RunThread() {
  while (!failed_.load()) {
    const size_t index = next_job_.fetch_add(1);
    if (index >= plan_.jobs.size()) return;
    const absl::Status status = RunJob(plan_.jobs[index]);
    if (!status.ok()) Cancel(status);
  }
}

absl::Status SliceTransfer::RunJob(const ReadJob& job) {
  const ByteBudget::Leave leave =
      budget_.Take(job.buffer_bytes, SteadyNow() + options_.send_deadline);
  if (leave == nullptr) {
    return absl::DeadlineExceededError(absl::StrCat("the receivers have taken none of ",
                                                    budget_.limit_bytes(), " bytes within ",
                                                    absl::FormatDuration(options_.send_deadline)));
  }
  const absl::StatusOr<std::shared_ptr<ReadBuffer>> buffer =
      reader_.Read(job.file, job.ranges, job.buffer_bytes, scope_);
  if (!buffer.ok()) {
    return Annotate(buffer.status(), absl::StrCat("tensor \"", job.first_tensor->name, "\""));
  }
  progress_.read_bytes += job.read_bytes();
  for (const Delivery& delivery : job.deliveries) {
    if (failed_.load()) return absl::OkStatus();
    RETURN_IF_ERROR(SendDelivery(delivery, *buffer, leave));
  }
  return absl::OkStatus();
}

absl::Status SliceTransfer::SendDelivery(const Delivery& delivery,
                                         const std::shared_ptr<ReadBuffer>& buffer,
                                         const ByteBudget::Leave& leave) {
  const std::span<const std::byte> bytes = std::as_const(*buffer).span();
  for (uint64_t begin = 0; begin < delivery.bytes(); begin += options_.chunk_bytes) {
    const uint64_t count = std::min(options_.chunk_bytes, delivery.bytes() - begin);
    std::shared_ptr<const void> owner = buffer;
    std::span<const std::byte> payload;
    if (delivery.contiguous()) {
      payload = bytes.subspan(delivery.buffer_offset + begin, count);
    } else {
      const std::shared_ptr<ReadBuffer> gathered = gather_buffers_.Take(count);
      Gather(delivery, bytes, begin, gathered->span());
      payload = std::as_const(*gathered).span();
      owner = gathered;
    }
    LoadProgress* progress = &progress_;
    RETURN_IF_ERROR(senders_[delivery.target]->SendChunk(
        delivery.slice, delivery.slice_offset + begin, payload,
        SteadyNow() + options_.send_deadline,
        [progress, count, owner = std::move(owner), leave](const absl::Status& status) {
          if (status.ok()) progress->sent_bytes += count;
        }));
  }
  return absl::OkStatus();
}

}  // namespace baton::loader
