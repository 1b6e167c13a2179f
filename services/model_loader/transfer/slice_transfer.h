// Carries out a read plan: reads on several threads, cuts what was read into chunks, sends them.
//
// Memory is bounded by max_held_bytes: of what is being read and what receivers have not taken yet.
// The same few buffers, still in the processor's cache, serve a whole load that way.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "common/transport/chunk_sender.h"
#include "services/model_loader/shard/read_plan.h"
#include "services/model_loader/source/range_reader.h"
#include "services/model_loader/transfer/byte_budget.h"
#include "services/model_loader/transfer/load_progress.h"

namespace baton::loader {

struct SliceTransferOptions {
  int num_threads = 4;
  uint64_t chunk_bytes = uint64_t{4} << 20;
  // Of reads under way and of chunks that are not answered; a longer read goes alone.
  uint64_t max_held_bytes = uint64_t{16} << 20;
  // A receiver that takes nothing for this long is lost.
  absl::Duration send_deadline = absl::Seconds(30);
};

class SliceTransfer final {
 public:
  // `plan`, `reader`, the senders (one per target) and `progress` must outlive this object.
  SliceTransfer(const SliceTransferOptions& options, const ReadPlan* plan, RangeReader* reader,
                std::vector<ChunkSender*> senders, LoadProgress* progress);

  // Blocks until every chunk was taken. Errors: as RangeReader::Read, with the tensor's name, and
  // as ChunkSender::SendChunk and Finish; the first one ends the whole transfer.
  absl::Status Run();

  // Ends Run soon with `reason`. Any thread, any time.
  void Cancel(const absl::Status& reason);

 private:
  void RunThread();
  absl::Status RunJob(const ReadJob& job);
  absl::Status SendDelivery(const Delivery& delivery, const std::shared_ptr<ReadBuffer>& buffer,
                            const ByteBudget::Leave& leave);
  absl::Status first_error() const;

  const SliceTransferOptions options_;
  const ReadPlan& plan_;
  RangeReader& reader_;
  ReadScope scope_;
  const std::vector<ChunkSender*> senders_;
  LoadProgress& progress_;
  BufferPool gather_buffers_;  // for chunks of strided deliveries
  ByteBudget budget_;

  std::atomic<size_t> next_job_ = 0;
  std::atomic<bool> failed_ = false;
  mutable absl::Mutex mutex_;
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::loader
