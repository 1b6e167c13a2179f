// What the rows of cuda_bench are made of: synthetic tensors and weights, device time, the table.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"

#include "common/tensor/aligned_buffer.h"
#include "kernels/api/ops.h"
#include "tests/bench/cuda_floors.h"

namespace baton::kernels {

// Device memory with bytes that are neither zero nor NaN in any type.
class DeviceTensor {
 public:
  DeviceTensor(Ops& ops, DataType type, int64_t rows, int64_t columns);

  TensorView view;

 private:
  std::unique_ptr<DeviceBuffer> buffer_;
};

// Device memory with these elements.
template <typename T>
class DeviceList {
 public:
  DeviceList(Ops& ops, const std::vector<T>& host)
      : buffer_(ops.Allocate(host.size() * sizeof(T)).value()), size_(host.size()) {
    ops.CopyToDevice(buffer_->data(), host.data(), host.size() * sizeof(T));
  }

  T* data() const { return static_cast<T*>(buffer_->data()); }
  std::span<T> span() const { return {data(), size_}; }

 private:
  std::unique_ptr<DeviceBuffer> buffer_;
  size_t size_;
};

// Weights of one shape and the same values, each in memory of its own.
class WeightMaker {
 public:
  WeightMaker(DataType type, int64_t n, int64_t k);

  std::unique_ptr<PackedWeight> Make(Ops& ops) const;
  // As many as take more than twice the device's cache, so that no repetition finds the last one's
  // there.
  std::vector<std::unique_ptr<PackedWeight>> MakeRotated(Ops& ops) const;

 private:
  AlignedBuffer values_;
  AlignedBuffer scales_;
  WeightMatrix weight_;
};

// Microseconds of the device per call: kMeasuredCalls calls queued as one graph, the median of
// several runs of it. `call` gets 0 to kMeasuredCalls - 1, and queues what a graph can hold.
inline constexpr size_t kMeasuredCalls = 40;
double MeasureCalls(Ops& ops, absl::FunctionRef<void(size_t)> call);

void PrintHead();
void PrintRow(const std::string& name, int64_t rows, double measured, const Floor& floor);

}  // namespace baton::kernels
