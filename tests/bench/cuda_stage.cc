// One rank's share of the last 31 layers of DeepSeek-R1 on the first GPU, with made-up weights:
// that it runs, gives the same bits alone and among others, agrees with the plain kernels, and how
// long its steps take, beside the time that their bytes take at least.
//
//   cuda_stage CONFIG_JSON [--layers N]      CONFIG_JSON: tests/data/deepseek-r1/config.json
//
// Ends with 0, with 1 if a check fails, with 3 if this machine cannot run it.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"

#include "common/tensor/bfloat16.h"
#include "kernels/cuda/cuda_backend.h"
#include "tests/bench/real_stage.h"

namespace baton::bench {
namespace {

constexpr double kBytesPerMicrosecond = 4.3e6;  // an H200's measured copy rate
constexpr int64_t kContext = 4096;
constexpr int64_t kChunk = 2048;
constexpr int64_t kLargestBatch = 128;
constexpr int kWarmSteps = 3;
constexpr int kSteps = 15;
// Rounding activations to FP8 costs a product 2.6 % (rms); 31 layers of random weights carry that
// on and may choose another expert. What is mapped wrongly differs by more than its own size.
constexpr double kLargestDifference = 0.5;

// Megabytes that one layer of experts reads and writes for a decode step of one of eight ranks.
double LayerMegabytes(int64_t rows, int64_t hit_experts) {
  const auto b = static_cast<double>(rows);
  return 47.9 + 5.507 * static_cast<double>(hit_experts) +
         b * (0.295 + 0.001152 * static_cast<double>(kContext));
}

// One layer of experts for a chunk of 2048 rows without context.
constexpr double kPrefillLayerMicroseconds = 550.0;

std::vector<uint32_t> Seeds(int64_t rows) {
  std::vector<uint32_t> seeds(static_cast<size_t>(rows));
  std::iota(seeds.begin(), seeds.end(), 0);
  return seeds;
}

double Difference(const std::vector<uint16_t>& a, const std::vector<uint16_t>& b) {
  double error = 0.0;
  double size = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    BFloat16 x;
    BFloat16 y;
    std::memcpy(&x, &a[i], sizeof(x));
    std::memcpy(&y, &b[i], sizeof(y));
    const double difference = double{ToFloat(x)} - double{ToFloat(y)};
    error += difference * difference;
    size += double{ToFloat(y)} * double{ToFloat(y)};
  }
  return std::sqrt(error / std::max(size, 1e-30));
}

class Checks {
 public:
  void Expect(bool holds, const std::string& what) {
    std::printf("%s: %s\n", holds ? "holds" : "FAILS", what.c_str());
    std::fflush(stdout);
    failed_ = failed_ || !holds;
  }
  bool failed() const { return failed_; }

 private:
  bool failed_ = false;
};

// The same row alone, again, in a graph, and among others.
void CheckBits(RealStage& stage, Checks& checks) {
  const auto alone = RealStage::DecodeStep(1, 512);
  stage.RunLayers(alone, {0});
  const std::vector<uint16_t> first = stage.StreamRow(0);
  stage.RunLayers(alone, {0});
  checks.Expect(stage.StreamRow(0) == first, "a step repeated gives the same bits");
  const auto begin = std::chrono::steady_clock::now();
  const uint64_t free_bytes = stage.own_device().ops->memory().free_bytes;
  const size_t num_graphs = stage.MakeGraphs();
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  const uint64_t left_bytes = stage.own_device().ops->memory().free_bytes;
  std::printf("%d graphs made in %.1f s; they take %.2f GB\n", static_cast<int>(num_graphs),
              taken.count(),
              (static_cast<double>(free_bytes) - static_cast<double>(left_bytes)) * 1e-9);
  stage.RunLayers(alone, {0});
  checks.Expect(stage.StreamRow(0) == first, "a step in a graph gives the same bits");
  stage.RunLayers(RealStage::DecodeStep(3, 512), Seeds(3));
  checks.Expect(stage.StreamRow(0) == first, "a row has the same bits beside padding");
  stage.RunLayers(RealStage::DecodeStep(8, 512), Seeds(8));
  checks.Expect(stage.StreamRow(0) == first, "a row has the same bits among seven others");
  checks.Expect(stage.DrawsFiniteTokens(RealStage::DecodeStep(8, 512)), "all logits are finite");
}

// Hopper's kernels beside the plain ones, on the same weights and an empty context.
void CheckAgainstPlain(RealStage& stage, Checks& checks) {
  auto backend = kernels::CreateCudaBackend({.plain_kernels = true});
  auto team = (*backend)->CreateTeam(1, 1);
  if (!team.ok()) {
    checks.Expect(false, std::string(team.status().message()));
    return;
  }
  const auto step = RealStage::DecodeStep(4, 0);
  stage.RunLayers(step, Seeds(4));
  const std::vector<uint16_t> fast = stage.StreamRow(3);
  stage.UseDevice(team->devices[0]);
  stage.RunLayers(step, Seeds(4));
  const double difference = Difference(fast, stage.StreamRow(3));
  checks.Expect(difference < kLargestDifference,
                absl::StrFormat("all layers differ from the plain kernels by %.3f", difference));
  team->devices[0].ops->Synchronize();
  stage.UseDevice(stage.own_device());
}

double MedianStep(RealStage& stage, const stage::StepBatch& batch) {
  const std::vector<uint32_t> seeds = Seeds(batch.num_tokens());
  for (int i = 0; i < kWarmSteps; ++i) stage.RunLayers(batch, seeds);
  std::vector<double> times;
  for (int i = 0; i < kSteps; ++i) times.push_back(stage.RunLayers(batch, seeds));
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

void Measure(RealStage& stage, int64_t layers, int64_t most_rows) {
  std::printf("\n| step | rows | experts hit | measured us | floor us | share |\n");
  std::printf("|---|---|---|---|---|---|\n");
  const auto n = static_cast<double>(layers);
  for (const int64_t rows : {int64_t{1}, int64_t{8}, int64_t{64}, kLargestBatch}) {
    if (rows > most_rows) {
      std::printf("| decode, skipped: its cache has no room | %d | | | | |\n",
                  static_cast<int>(rows));
      continue;
    }
    const double measured = MedianStep(stage, RealStage::DecodeStep(rows, kContext - 1));
    const int64_t hit = stage.NumHitExperts(rows);
    const double floor = n * LayerMegabytes(rows, hit) * 1e6 / kBytesPerMicrosecond;
    std::printf("| decode, %d keys | %d | %d | %.0f | %.0f | %.3f |\n", static_cast<int>(kContext),
                static_cast<int>(rows), static_cast<int>(hit), measured, floor, floor / measured);
    std::fflush(stdout);
  }
  const double measured = MedianStep(stage, RealStage::PrefillStep(kChunk, 0));
  const double floor = n * kPrefillLayerMicroseconds;
  std::printf("| prefill | %d | %d | %.0f | %.0f | %.3f |\n", static_cast<int>(kChunk),
              static_cast<int>(stage.NumHitExperts(kChunk)), measured, floor, floor / measured);
}

int Run(const std::string& path, int64_t layers) {
  const auto fail = [](const absl::Status& status, int code) {
    std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
    return code;
  };
  auto text = ReadModelConfigText(std::filesystem::path(path).parent_path().string());
  if (!text.ok()) return fail(text.status(), 3);
  auto config = ParseModelConfig(*text);
  if (!config.ok()) return fail(config.status(), 3);
  auto backend = kernels::CreateCudaBackend();
  if (!backend.ok()) return fail(backend.status(), 3);
  RealStage::Options options;
  options.config = *config;
  options.num_layers = layers;
  // Half of what the weights, some 46 GB, leave free is the cache's.
  const uint64_t block_bytes = stage::KvShapeOf(*config, layers, DataType::kBFloat16).block_bytes();
  const uint64_t weight_bytes = static_cast<uint64_t>(layers) * 1'480'000'000u + 1'000'000'000u;
  const kernels::DeviceMemory memory = (*backend)->memory();
  if (memory.free_bytes < weight_bytes + weight_bytes / 4) {
    std::fprintf(stderr, "%.1f GB of the device's memory are free; %lld layers need %.1f\n",
                 static_cast<double>(memory.free_bytes) * 1e-9, static_cast<long long>(layers),
                 static_cast<double>(weight_bytes + weight_bytes / 4) * 1e-9);
    return 3;
  }
  const auto affordable =
      static_cast<int64_t>((memory.free_bytes - weight_bytes) / 2 / block_bytes);
  const int64_t blocks_per_sequence = kContext / kernels::kBlockTokens;
  options.num_blocks = std::min(affordable, kLargestBatch * blocks_per_sequence);
  auto stage = RealStage::Create(options, backend->get());
  if (!stage.ok()) return fail(stage.status(), 1);
  std::printf(
      "%d layers of rank 0 of 8: %.1f GB of weights in %.1f s (%.2f GB/s), workspace %.2f "
      "GB, %d blocks of KV cache\n",
      static_cast<int>(layers), static_cast<double>((*stage)->weight_bytes()) * 1e-9,
      (*stage)->load_seconds(),
      static_cast<double>((*stage)->weight_bytes()) * 1e-9 / (*stage)->load_seconds(),
      static_cast<double>((*stage)->workspace_bytes()) * 1e-9,
      static_cast<int>(options.num_blocks));
  Checks checks;
  CheckBits(**stage, checks);
  CheckAgainstPlain(**stage, checks);
  Measure(**stage, layers, options.num_blocks / blocks_per_sequence);
  return checks.failed() ? 1 : 0;
}

}  // namespace
}  // namespace baton::bench

int main(int argc, char** argv) {
  int64_t layers = 31;
  const bool has_layers = argc == 4 && std::strcmp(argv[2], "--layers") == 0;
  if ((argc != 2 && !has_layers) ||
      (has_layers && (!absl::SimpleAtoi(argv[3], &layers) || layers < 1 || layers > 58))) {
    std::fprintf(stderr, "usage: cuda_stage CONFIG_JSON [--layers N]\n");
    return 2;
  }
  return baton::bench::Run(argv[1], layers);
}
