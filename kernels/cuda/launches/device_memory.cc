#include "kernels/cuda/launches/device_memory.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/log/check.h"
#include "kernels/cuda/launches/cuda_stream.h"

namespace baton::kernels::cuda {
namespace {

// Bytes that the device's pool holds and nobody uses.
size_t SpareOfPool(int device) {
  cudaMemPool_t pool = nullptr;
  uint64_t reserved = 0;
  uint64_t used = 0;
  if (cudaDeviceGetDefaultMemPool(&pool, device) != cudaSuccess ||
      cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, &reserved) != cudaSuccess ||
      cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used) != cudaSuccess) {
    cudaGetLastError();  // no later launch is to blame
    return 0;
  }
  return reserved - std::min(reserved, used);
}

cudaError_t TakeFromPool(void** data, size_t bytes, int device, cudaStream_t stream) {
  cudaError_t error = cudaMallocAsync(data, bytes, stream);
  if (error != cudaErrorMemoryAllocation) return error;
  cudaGetLastError();
  // What the pool has to spare may lie in pieces that are too small.
  cudaMemPool_t pool = nullptr;
  error = cudaStreamSynchronize(stream);
  if (error == cudaSuccess) error = cudaDeviceGetDefaultMemPool(&pool, device);
  if (error == cudaSuccess) error = cudaMemPoolTrimTo(pool, 0);
  return error == cudaSuccess ? cudaMallocAsync(data, bytes, stream) : error;
}

}  // namespace

DeviceMemory MemoryOf(int device) {
  size_t free_bytes = 0;
  size_t total_bytes = 0;
  if (cudaSetDevice(device) != cudaSuccess ||
      cudaMemGetInfo(&free_bytes, &total_bytes) != cudaSuccess) {
    cudaGetLastError();  // no later launch is to blame
    return {};
  }
  return {total_bytes, free_bytes + SpareOfPool(device)};
}

absl::Status PreparePool(int device) {
  int has_pools = 0;
  cudaMemPool_t pool = nullptr;
  cudaError_t error = cudaDeviceGetAttribute(&has_pools, cudaDevAttrMemoryPoolsSupported, device);
  if (error == cudaSuccess && has_pools == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("CUDA device ", device, " has no memory pools: its driver shares it out"));
  }
  if (error == cudaSuccess) error = cudaDeviceGetDefaultMemPool(&pool, device);
  // The default is to give memory back to the driver at the next wait, in the middle of a step.
  uint64_t kept_bytes = std::numeric_limits<uint64_t>::max();
  if (error == cudaSuccess) {
    error = cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &kept_bytes);
  }
  return ToStatus(error, absl::StrCat("memory pool of CUDA device ", device));
}

absl::StatusOr<std::unique_ptr<CudaBuffer>> CudaBuffer::Create(size_t bytes, cudaStream_t stream) {
  return Make(bytes, stream, /*pooled=*/true);
}

absl::StatusOr<std::unique_ptr<CudaBuffer>> CudaBuffer::CreateForPeers(size_t bytes,
                                                                       cudaStream_t stream) {
  return Make(bytes, stream, /*pooled=*/false);
}

absl::StatusOr<std::unique_ptr<CudaBuffer>> CudaBuffer::Make(size_t bytes, cudaStream_t stream,
                                                             bool pooled) {
  int device = -1;
  size_t free_bytes = 0;
  size_t total_bytes = 0;
  cudaGetDevice(&device);
  void* data = nullptr;
  const size_t wanted = std::max<size_t>(bytes, 1);
  const cudaError_t error =
      pooled ? TakeFromPool(&data, wanted, device, stream) : cudaMalloc(&data, wanted);
  if (error != cudaSuccess) {
    cudaGetLastError();  // it is reported here, not by the next launch
    cudaMemGetInfo(&free_bytes, &total_bytes);
    return ToStatus(error, absl::StrCat(bytes, " bytes on CUDA device ", device, ", which has ",
                                        free_bytes, " of ", total_bytes, " free"));
  }
  std::unique_ptr<CudaBuffer> buffer(new CudaBuffer(data, bytes, stream, pooled));
  const absl::Status zeroed =
      ToStatus(cudaMemsetAsync(data, 0, bytes, stream), "zeroing device memory");
  if (!zeroed.ok()) return zeroed;
  return buffer;
}

CudaBuffer::~CudaBuffer() {
  if (pooled_) {
    cudaFreeAsync(data_, stream_);
  } else {
    cudaFree(data_);
  }
}

absl::StatusOr<DeviceArena::Piece> DeviceArena::Take(size_t bytes) {
  const size_t rounded = (bytes + 255) / 256 * 256;
  if (rounded > kChunkBytes / 4) {  // one of its own: a chunk's rest would be large
    absl::StatusOr<std::unique_ptr<CudaBuffer>> own = CudaBuffer::Create(bytes, stream_);
    if (!own.ok()) return own.status();
    return Piece{*std::move(own), 0, bytes};
  }
  if (chunk_ == nullptr || used_ + rounded > chunk_->bytes()) {
    absl::StatusOr<std::unique_ptr<CudaBuffer>> next = CudaBuffer::Create(kChunkBytes, stream_);
    if (!next.ok()) return next.status();
    chunk_ = *std::move(next);
    used_ = 0;
    spare_bytes_ += kChunkBytes;
  }
  Piece piece{chunk_, used_, bytes};
  used_ += rounded;
  spare_bytes_ -= bytes;
  return piece;
}

void DeviceScratch::Begin(size_t bytes) {
  offset_ = 0;
  if (memory_ != nullptr && memory_->bytes() >= bytes) return;
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  CheckCuda(cudaStreamIsCapturing(stream_, &capture), "state of the stream");
  BATON_CHECK(capture == cudaStreamCaptureStatusNone) << "the scratch grew in a graph";
  if (holds_ && memory_ != nullptr) {
    held_bytes_ += memory_->bytes();
    held_.push_back(std::move(memory_));
  }
  memory_.reset();
  auto grown = CudaBuffer::Create(bytes, stream_);
  BATON_CHECK_OK(grown.status());
  memory_ = *std::move(grown);
}

void DeviceScratch::Release() {
  holds_ = false;
  held_.clear();
  held_bytes_ = 0;
}

void* DeviceScratch::CutBytes(size_t bytes) {
  void* piece = static_cast<char*>(memory_->data()) + offset_;
  offset_ += Aligned(bytes);
  BATON_CHECK(offset_ <= memory_->bytes()) << offset_ << " of " << memory_->bytes();
  return piece;
}

absl::StatusOr<std::unique_ptr<PinnedRing>> PinnedRing::Create(cudaStream_t stream) {
  std::unique_ptr<PinnedRing> ring(new PinnedRing(stream));
  for (Slot& slot : ring->slots_) {
    absl::Status status =
        ToStatus(cudaHostAlloc(&slot.memory, kSlotBytes, cudaHostAllocDefault), "pinned memory");
    if (status.ok()) {
      status = ToStatus(cudaEventCreateWithFlags(&slot.free, cudaEventDisableTiming), "event");
    }
    if (!status.ok()) return status;
  }
  return ring;
}

PinnedRing::~PinnedRing() {
  cudaStreamSynchronize(stream_);
  for (Slot& slot : slots_) {
    if (slot.free != nullptr) cudaEventDestroy(slot.free);
    if (slot.memory != nullptr) cudaFreeHost(slot.memory);
  }
}

PinnedRing::Slot& PinnedRing::NextSlot() {
  Slot& slot = slots_[next_];
  next_ = (next_ + 1) % slots_.size();
  CheckCuda(cudaEventSynchronize(slot.free), "waiting for a pinned slot");
  return slot;
}

void PinnedRing::CopyToDevice(void* device, const void* host, size_t bytes) {
  for (size_t begin = 0; begin < bytes; begin += kSlotBytes) {
    const size_t count = std::min(kSlotBytes, bytes - begin);
    Slot& slot = NextSlot();
    std::memcpy(slot.memory, static_cast<const char*>(host) + begin, count);
    CheckCuda(cudaMemcpyAsync(static_cast<char*>(device) + begin, slot.memory, count,
                              cudaMemcpyHostToDevice, stream_),
              "copy to the device");
    CheckCuda(cudaEventRecord(slot.free, stream_), "event");
  }
}

void PinnedRing::CopyToHost(void* host, const void* device, size_t bytes) {
  for (size_t begin = 0; begin < bytes; begin += kSlotBytes) {
    const size_t count = std::min(kSlotBytes, bytes - begin);
    Slot& slot = NextSlot();
    CheckCuda(cudaMemcpyAsync(slot.memory, static_cast<const char*>(device) + begin, count,
                              cudaMemcpyDeviceToHost, stream_),
              "copy to the host");
    CheckCuda(cudaEventRecord(slot.free, stream_), "event");
    CheckCuda(cudaEventSynchronize(slot.free), "copy to the host");
    std::memcpy(static_cast<char*>(host) + begin, slot.memory, count);
  }
}

}  // namespace baton::kernels::cuda
