// Memory of one CUDA device, and the way of bytes between it and the host.
#pragma once

#include <array>
#include <cstddef>
#include <cuda_runtime_api.h>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"

#include "kernels/api/ops.h"

namespace baton::kernels::cuda {

// Of CUDA device `device`, as the driver says now, what its pool has to spare counted as free;
// zeros if it says nothing.
DeviceMemory MemoryOf(int device);

// Before the first buffer on `device`: its pool keeps what is given back to it. FailedPrecondition
// if the device has no pools.
absl::Status PreparePool(int device);

class CudaBuffer final : public DeviceBuffer {
 public:
  // Of the current device's pool, which must have been prepared; zeroed. Taken and given back in
  // the order of `stream`, which must outlive it: neither waits for a device, so it may happen
  // while other devices' kernels wait for what this one has yet to launch. ResourceExhausted naming
  // device and bytes if it refuses.
  static absl::StatusOr<std::unique_ptr<CudaBuffer>> Create(size_t bytes, cudaStream_t stream);
  // The same, but other devices may read it. Both ends wait for all devices: only for what stands
  // before a team's first operation and goes after its last.
  static absl::StatusOr<std::unique_ptr<CudaBuffer>> CreateForPeers(size_t bytes,
                                                                    cudaStream_t stream);
  ~CudaBuffer() override;
  CudaBuffer(const CudaBuffer&) = delete;
  CudaBuffer& operator=(const CudaBuffer&) = delete;

  void* data() override { return data_; }
  size_t bytes() const override { return bytes_; }

 private:
  CudaBuffer(void* data, size_t bytes, cudaStream_t stream, bool pooled)
      : data_(data), bytes_(bytes), stream_(stream), pooled_(pooled) {}
  static absl::StatusOr<std::unique_ptr<CudaBuffer>> Make(size_t bytes, cudaStream_t stream,
                                                          bool pooled);

  void* const data_;
  const size_t bytes_;
  const cudaStream_t stream_;
  const bool pooled_;
};

// Memory for weights: many of a few MiB each, which the driver would round up to its own pages.
class DeviceArena final {
 public:
  // A piece of a chunk, which lives as long as any of its pieces.
  struct Piece {
    std::shared_ptr<CudaBuffer> chunk;
    size_t offset = 0;
    size_t bytes = 0;

    void* data() const { return static_cast<char*>(chunk->data()) + offset; }
  };

  explicit DeviceArena(cudaStream_t stream) : stream_(stream) {}

  // Aligned to 256 bytes. Errors: as CudaBuffer::Create.
  absl::StatusOr<Piece> Take(size_t bytes);
  // Bytes of chunks that no piece has.
  size_t spare_bytes() const { return spare_bytes_; }

 private:
  static constexpr size_t kChunkBytes = size_t{64} << 20;

  const cudaStream_t stream_;
  std::shared_ptr<CudaBuffer> chunk_;  // the one that is being cut
  size_t used_ = 0;                    // of it
  size_t spare_bytes_ = 0;
};

// Working memory of operations: cut anew by each, grown to the largest need; once every shape has
// been seen, nothing is allocated any more.
class DeviceScratch final {
 public:
  explicit DeviceScratch(cudaStream_t stream) : stream_(stream) {}

  // `bytes` of memory for the operation that begins; what Cut gave before is forgotten. Ends the
  // process if the device has no room.
  void Begin(size_t bytes);
  // The next `count` elements, aligned to 256 bytes.
  template <typename T>
  T* Cut(int64_t count) {
    return static_cast<T*>(CutBytes(static_cast<size_t>(count) * sizeof(T)));
  }
  size_t bytes() const { return held_bytes_ + (memory_ == nullptr ? 0 : memory_->bytes()); }
  // From here on memory that has been outgrown stays, for graphs name it, until Release. Operations
  // that are being captured must not outgrow it: that ends the process.
  void Hold() { holds_ = true; }
  void Release();
  // What Begin is to be told for elements that are cut one after the other.
  static constexpr size_t Aligned(size_t bytes) { return (bytes + 255) / 256 * 256; }

 private:
  void* CutBytes(size_t bytes);

  const cudaStream_t stream_;
  std::unique_ptr<CudaBuffer> memory_;
  size_t offset_ = 0;
  bool holds_ = false;
  std::vector<std::unique_ptr<CudaBuffer>> held_;
  size_t held_bytes_ = 0;
};

// A ring of pinned host memory: copies to the device return once their bytes stand in it.
class PinnedRing final {
 public:
  static absl::StatusOr<std::unique_ptr<PinnedRing>> Create(cudaStream_t stream);
  ~PinnedRing();
  PinnedRing(const PinnedRing&) = delete;
  PinnedRing& operator=(const PinnedRing&) = delete;

  // Returns when `host` may be reused; the copy is queued.
  void CopyToDevice(void* device, const void* host, size_t bytes);
  // Returns when `host` holds the bytes.
  void CopyToHost(void* host, const void* device, size_t bytes);

 private:
  static constexpr size_t kSlotBytes = size_t{4} << 20;
  struct Slot {
    void* memory = nullptr;
    cudaEvent_t free = nullptr;  // recorded behind the last copy that used it
  };

  explicit PinnedRing(cudaStream_t stream) : stream_(stream) {}
  Slot& NextSlot();

  const cudaStream_t stream_;
  std::array<Slot, 4> slots_;
  size_t next_ = 0;
};

}  // namespace baton::kernels::cuda
