#include "tests/bench/cuda_rows.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "absl/strings/str_format.h"

#include "common/log/check.h"

namespace baton::kernels {
namespace {

constexpr int64_t kRotatedBytes = int64_t{160} << 20;
constexpr size_t kFilledBytes = size_t{4} << 20;  // and again
constexpr uint64_t kGraph = 1;
constexpr int kRuns = 7;

// Bytes below 0x40: small positive values in every type.
void FillBytes(std::span<std::byte> bytes, uint32_t state) {
  for (std::byte& byte : bytes) {
    state = state * 1664525u + 1013904223u;
    byte = static_cast<std::byte>((state >> 24) & 0x3f);
  }
}

}  // namespace

DeviceTensor::DeviceTensor(Ops& ops, DataType type, int64_t rows, int64_t columns) {
  const size_t bytes = static_cast<size_t>(rows * columns) * SizeOf(type);
  buffer_ = ops.Allocate(bytes).value();
  std::vector<std::byte> host(std::min(bytes, kFilledBytes));
  FillBytes(host, 12345);
  for (size_t at = 0; at < bytes; at += kFilledBytes) {
    ops.CopyToDevice(static_cast<std::byte*>(buffer_->data()) + at, host.data(),
                     std::min(bytes - at, kFilledBytes));
  }
  view = {buffer_->data(), type, rows, columns, columns};
}

WeightMaker::WeightMaker(DataType type, int64_t n, int64_t k)
    : values_(static_cast<size_t>(n * k) * SizeOf(type)),
      scales_(static_cast<size_t>((n + 127) / 128 * ((k + 127) / 128)) * sizeof(float)) {
  FillBytes(values_.span(), 77);
  weight_.values = values_.AsTensor(type, n, k);
  if (type != DataType::kFloat8E4M3) return;
  weight_.scales = scales_.AsTensor(DataType::kFloat32, (n + 127) / 128, (k + 127) / 128);
  float* scales = static_cast<float*>(weight_.scales.data);
  std::fill(scales, scales + weight_.scales.num_elements(), 0.001f);
}

std::unique_ptr<PackedWeight> WeightMaker::Make(Ops& ops) const {
  return ops.Pack(weight_, DataType::kBFloat16);
}

std::vector<std::unique_ptr<PackedWeight>> WeightMaker::MakeRotated(Ops& ops) const {
  std::vector<std::unique_ptr<PackedWeight>> weights;
  for (int64_t bytes = 0; bytes < kRotatedBytes; bytes += static_cast<int64_t>(values_.size())) {
    weights.push_back(Make(ops));
  }
  return weights;
}

double MeasureCalls(Ops& ops, absl::FunctionRef<void(size_t)> call) {
  const auto calls = [call] {
    for (size_t i = 0; i < kMeasuredCalls; ++i) call(i);
  };
  calls();  // what is allocated is allocated now
  ops.Synchronize();
  BATON_CHECK_OK(ops.MakeGraph(kGraph, calls));
  ops.RunGraph(kGraph, calls);
  ops.Synchronize();
  std::vector<double> times;
  for (int run = 0; run < kRuns; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    ops.RunGraph(kGraph, calls);
    ops.Synchronize();
    const std::chrono::duration<double, std::micro> time = std::chrono::steady_clock::now() - begin;
    times.push_back(time.count() / double{kMeasuredCalls});
  }
  ops.ForgetGraphs();
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

void PrintHead() {
  absl::PrintF("\n| operation | rows | measured us | floor us | share |\n|---|---|---|---|---|\n");
}

void PrintRow(const std::string& name, int64_t rows, double measured, const Floor& floor) {
  absl::PrintF("| %s | %d | %.2f | %.2f | %.3f |\n", name, rows, measured, floor.microseconds(),
               floor.microseconds() / measured);
  std::fflush(stdout);
}

}  // namespace baton::kernels
