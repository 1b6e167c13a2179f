// Measures the operations of one layer of DeepSeek-R1 at the shapes of one of eight ranks, on the
// first GPU, against the time that their bytes or their arithmetic take at least.
//
//   cuda_bench [--probe]      --probe: says which device there is, or why there is none
//
// Weights are synthetic and rotated, so that no repetition finds the last one's in the cache.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"

#include "common/tensor/aligned_buffer.h"
#include "kernels/api/ops.h"
#include "kernels/cuda/cuda_backend.h"

namespace baton::kernels {
namespace {

// H200: measured copy rate; products of FP8 and bfloat16 at their nominal and measured rates.
constexpr double kBytesPerMicrosecond = 4.3e6;
constexpr double kFloat8OpsPerMicrosecond = 1.5e9;
constexpr double kBFloat16OpsPerMicrosecond = 7.9e8;
constexpr int64_t kRotatedBytes = int64_t{160} << 20;  // more than twice the cache

struct Floor {
  double bytes = 0.0;
  double operations = 0.0;
  double rate = kFloat8OpsPerMicrosecond;

  double microseconds() const { return std::max(bytes / kBytesPerMicrosecond, operations / rate); }
};

// Device memory with bytes that are neither zero nor NaN in any type.
class DeviceTensor {
 public:
  DeviceTensor(Ops& ops, DataType type, int64_t rows, int64_t columns) {
    const auto bytes = static_cast<size_t>(rows * columns) * SizeOf(type);
    buffer_ = ops.Allocate(bytes).value();
    std::vector<unsigned char> host(bytes);
    uint32_t state = 12345;
    for (unsigned char& byte : host) {
      state = state * 1664525u + 1013904223u;
      byte = static_cast<unsigned char>((state >> 24) & 0x3f);
    }
    ops.CopyToDevice(buffer_->data(), host.data(), bytes);
    view = {buffer_->data(), type, rows, columns, columns};
  }

  TensorView view;

 private:
  std::unique_ptr<DeviceBuffer> buffer_;
};

std::unique_ptr<PackedWeight> MakeWeight(Ops& ops, DataType type, int64_t n, int64_t k) {
  AlignedBuffer values(static_cast<size_t>(n * k) * SizeOf(type));
  uint32_t state = 77;
  for (size_t i = 0; i < values.size(); ++i) {
    state = state * 1664525u + 1013904223u;
    values.data()[i] = static_cast<std::byte>((state >> 24) & 0x3f);
  }
  WeightMatrix weight;
  weight.values = values.AsTensor(type, n, k);
  AlignedBuffer scales(static_cast<size_t>((n + 127) / 128 * ((k + 127) / 128)) * sizeof(float));
  if (type == DataType::kFloat8E4M3) {
    weight.scales = scales.AsTensor(DataType::kFloat32, (n + 127) / 128, (k + 127) / 128);
    for (int64_t i = 0; i < weight.scales.num_elements(); ++i) {
      static_cast<float*>(weight.scales.data)[i] = 0.001f;
    }
  }
  return ops.Pack(weight, DataType::kBFloat16);
}

// Median of several runs of many calls, in microseconds per call.
double Measure(Ops& ops, const std::function<void(size_t)>& call) {
  constexpr int kRuns = 7;
  constexpr size_t kCalls = 20;
  for (size_t i = 0; i < kCalls; ++i) call(i);
  ops.Synchronize();
  std::vector<double> times;
  for (int run = 0; run < kRuns; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    for (size_t i = 0; i < kCalls; ++i) call(i);
    ops.Synchronize();
    const std::chrono::duration<double, std::micro> time = std::chrono::steady_clock::now() - begin;
    times.push_back(time.count() / kCalls);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

void PrintRow(const std::string& name, int64_t rows, double measured, const Floor& floor) {
  absl::PrintF("| %s | %d | %.1f | %.1f | %.3f |\n", name, rows, measured, floor.microseconds(),
               floor.microseconds() / measured);
  std::fflush(stdout);
}

void MeasureLinear(Ops& ops, const std::string& name, DataType type, int64_t n, int64_t k,
                   DataType out_type, const std::vector<int64_t>& batches) {
  const int64_t weight_bytes = n * k * static_cast<int64_t>(SizeOf(type));
  std::vector<std::unique_ptr<PackedWeight>> weights;
  for (int64_t bytes = 0; bytes < kRotatedBytes; bytes += weight_bytes) {
    weights.push_back(MakeWeight(ops, type, n, k));
  }
  for (const int64_t rows : batches) {
    const DeviceTensor x(ops, DataType::kBFloat16, rows, k);
    const DeviceTensor out(ops, out_type, rows, n);
    const double measured = Measure(ops, [&](size_t i) {
      ops.Linear({x.view, weights[i % weights.size()].get(), out.view});
    });
    const auto moved = static_cast<double>(weight_bytes + rows * k * 2 +
                                           rows * n * static_cast<int64_t>(SizeOf(out_type)));
    PrintRow(
        name, rows, measured,
        {moved, 2.0 * static_cast<double>(rows * n) * static_cast<double>(k),
         type == DataType::kFloat8E4M3 ? kFloat8OpsPerMicrosecond : kBFloat16OpsPerMicrosecond});
  }
}

void MeasureNorm(Ops& ops, const std::vector<int64_t>& batches) {
  constexpr int64_t kHidden = 7168;
  for (const int64_t rows : batches) {
    const DeviceTensor residual(ops, DataType::kBFloat16, rows, kHidden);
    const DeviceTensor delta(ops, DataType::kFloat32, rows, kHidden);
    const DeviceTensor weight(ops, DataType::kFloat32, 1, kHidden);
    const DeviceTensor out(ops, DataType::kBFloat16, rows, kHidden);
    const double measured = Measure(ops, [&](size_t) {
      ops.AddRmsNorm({residual.view, delta.view, weight.view, 1e-6f, out.view});
    });
    PrintRow("add + norm", rows, measured, {static_cast<double>(rows * kHidden) * 10.0, 0.0});
  }
}

void MeasureAttention(Ops& ops, const std::vector<int64_t>& batches) {
  constexpr int64_t kHeads = 16;
  constexpr int64_t kLatent = 512;
  constexpr int64_t kRope = 64;
  constexpr int64_t kContext = 4096;
  for (const int64_t rows : batches) {
    const int64_t blocks = kContext / kBlockTokens;
    std::vector<int32_t> positions(static_cast<size_t>(rows), kContext - 1);
    std::vector<int32_t> sequences;
    std::vector<int32_t> tables;
    for (int64_t r = 0; r < rows; ++r) sequences.push_back(static_cast<int32_t>(r));
    for (int64_t b = 0; b < rows * blocks; ++b) tables.push_back(static_cast<int32_t>(b));
    const auto upload = [&ops](const std::vector<int32_t>& host) {
      auto buffer = ops.Allocate(host.size() * sizeof(int32_t)).value();
      ops.CopyToDevice(buffer->data(), host.data(), host.size() * sizeof(int32_t));
      return buffer;
    };
    const auto span_of = [](DeviceBuffer& buffer) {
      return std::span<const int32_t>(static_cast<const int32_t*>(buffer.data()),
                                      buffer.bytes() / sizeof(int32_t));
    };
    const auto position_buffer = upload(positions);
    const auto sequence_buffer = upload(sequences);
    const auto table_buffer = upload(tables);
    const DeviceTensor pages(ops, DataType::kBFloat16, rows * kContext, kLatent + kRope);
    const DeviceTensor q_latent(ops, DataType::kBFloat16, rows, kHeads * kLatent);
    const DeviceTensor q_rope(ops, DataType::kBFloat16, rows, kHeads * kRope);
    const DeviceTensor out(ops, DataType::kBFloat16, rows, kHeads * kLatent);
    MlaAttentionArgs args;
    args.q_latent = q_latent.view;
    args.q_rope = q_rope.view;
    args.heads = kHeads;
    args.scale = 0.135f;
    args.layout = {span_of(*position_buffer), span_of(*sequence_buffer), span_of(*table_buffer),
                   blocks};
    args.cache = {pages.view, kLatent, kRope};
    args.out = out.view;
    const double measured = Measure(ops, [&](size_t) { ops.MlaAttention(args); });
    PrintRow("latent attention, 4096 keys", rows, measured,
             {static_cast<double>(rows * kContext * (kLatent + kRope) * 2), 0.0});
  }
}

// The large products of above, through cuBLASLt.
void MeasureCublas() {
  auto backend = CreateCudaBackend({.through_cublas = true});
  if (!backend.ok()) return;
  const Team team = (*backend)->CreateTeam(1, 1).value();
  if (team.name != "cuda/cublas") {
    absl::PrintF("\nwithout cuBLASLt: it could not be loaded\n");
    return;
  }
  Ops& ops = *team.devices[0].ops;
  const std::vector<int64_t> batches = {512, 2048};
  const auto measure = [&](const std::string& name, int64_t n, int64_t k, DataType out_type) {
    MeasureLinear(ops, name, DataType::kFloat8E4M3, n, k, out_type, batches);
  };
  measure("q_a, cuBLASLt", 1536, 7168, DataType::kBFloat16);
  measure("kv_a, cuBLASLt", 576, 7168, DataType::kBFloat16);
  measure("q_b, cuBLASLt", 3072, 1536, DataType::kBFloat16);
  measure("o, cuBLASLt", 7168, 2048, DataType::kFloat32);
}

int Run(bool probe) {
  auto backend = CreateCudaBackend();
  if (!backend.ok()) {
    std::fprintf(stderr, "%s\n", std::string(backend.status().message()).c_str());
    return 3;
  }
  auto team = (*backend)->CreateTeam(1, 1);
  if (!team.ok()) {
    std::fprintf(stderr, "%s\n", std::string(team.status().message()).c_str());
    return 3;
  }
  absl::PrintF("%s\n", team->name);
  if (probe) return 0;
  Ops& ops = *team->devices[0].ops;
  absl::PrintF("\n| operation | rows | measured us | floor us | share |\n|---|---|---|---|---|\n");
  const std::vector<int64_t> batches = {1, 8, 64, 128, 512, 2048};
  const std::vector<int64_t> decode = {1, 8, 64, 128};
  MeasureNorm(ops, batches);
  MeasureLinear(ops, "q_a", DataType::kFloat8E4M3, 1536, 7168, DataType::kBFloat16, batches);
  MeasureLinear(ops, "kv_a", DataType::kFloat8E4M3, 576, 7168, DataType::kBFloat16, batches);
  MeasureLinear(ops, "q_b", DataType::kFloat8E4M3, 3072, 1536, DataType::kBFloat16, batches);
  MeasureLinear(ops, "o", DataType::kFloat8E4M3, 7168, 2048, DataType::kFloat32, batches);
  MeasureLinear(ops, "router", DataType::kBFloat16, 256, 7168, DataType::kFloat32, decode);
  MeasureLinear(ops, "head", DataType::kBFloat16, 16160, 7168, DataType::kFloat32, decode);
  MeasureAttention(ops, decode);
  MeasureCublas();
  return 0;
}

}  // namespace
}  // namespace baton::kernels

int main(int argc, char** argv) {
  const bool probe = argc > 1 && std::strcmp(argv[1], "--probe") == 0;
  if (argc > 1 && !probe) {
    std::fprintf(stderr, "usage: cuda_bench [--probe]\n");
    return 2;
  }
  return baton::kernels::Run(probe);
}
