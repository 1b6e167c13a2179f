// Where the time of a step goes: a whole model in one process, one stage and one rank, with every
// operation timed and held against what the machine can read and multiply. Where other programs
// run too, compare processor times.
//
//   steps_bench MODEL_DIR [THREADS [VARIANT]]      e.g. steps_bench /tmp/mini-r1 2 avx2
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"

#include "common/model/model_config.h"
#include "kernels/cpu/cpu_backend.h"
#include "tests/bench/machine_rates.h"
#include "tests/bench/timed_ops.h"
#include "tests/fakes/memory_checkpoint.h"
#include "tests/fakes/sequence_driver.h"
#include "tests/fakes/stage_group.h"

namespace baton::bench {
namespace {

constexpr uint32_t kPromptTokens = 128;
constexpr int kWarmSteps = 2;
constexpr int kSteps = 16;
constexpr int64_t kLargestPrefill = 2048;

struct Bench {
  fakes::StageGroup* group;
  OpTimes* times;
  MachineRates rates;
};

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::vector<uint32_t> RandomPrompt(uint32_t size, uint32_t seed, int64_t vocab_size) {
  std::mt19937 random(seed);
  std::vector<uint32_t> prompt;
  for (uint32_t i = 0; i < size; ++i) {
    prompt.push_back(static_cast<uint32_t>(random() % static_cast<uint64_t>(vocab_size)));
  }
  return prompt;
}

void Print(const Bench& bench, const char* name, double seconds, double tokens, int steps) {
  std::printf("\n%s: %.1f tokens/s, %.2f ms a step\n", name, tokens / seconds,
              1e3 * seconds / steps);
  std::printf(
      "| operation | calls | us a step | us of processors | share | GB/s | of read | GFLOP/s | of "
      "peak |\n");
  std::printf("|---|---:|---:|---:|---:|---:|---:|---:|---:|\n");
  std::vector<std::pair<std::string, OpTime>> rows(bench.times->begin(), bench.times->end());
  std::sort(rows.begin(), rows.end(),
            [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  OpTime rest;
  rest.seconds = seconds;
  double processor_seconds = 0;
  double bytes = 0;
  double flops = 0;
  for (const auto& [operation, time] : rows) {
    const double gb = time.bytes / time.seconds * 1e-9;
    const double gflop = time.flops / time.seconds * 1e-9;
    std::printf("| %s | %.0f | %.0f | %.0f | %.3f | %.1f | %.2f | %.1f | %.2f |\n",
                operation.c_str(), static_cast<double>(time.calls) / steps,
                1e6 * time.seconds / steps, 1e6 * time.processor_seconds / steps,
                time.seconds / seconds, gb, gb / bench.rates.read_gb_per_s, gflop,
                gflop / bench.rates.peak_gflop_per_s());
    rest.seconds -= time.seconds;
    processor_seconds += time.processor_seconds;
    bytes += time.bytes;
    flops += time.flops;
  }
  std::printf("| between operations | | %.0f | | %.3f | | | | |\n", 1e6 * rest.seconds / steps,
              rest.seconds / seconds);
  const double gb = bytes / seconds * 1e-9;
  const double gflop = flops / seconds * 1e-9;
  std::printf("| step | | %.0f | %.0f | 1 | %.1f | %.2f | %.1f | %.2f |\n", 1e6 * seconds / steps,
              1e6 * processor_seconds / steps, gb, gb / bench.rates.read_gb_per_s, gflop,
              gflop / bench.rates.peak_gflop_per_s());
  std::fflush(stdout);
}

absl::Status Decode(const Bench& bench, uint32_t batch) {
  fakes::SequenceDriver driver(bench.group);
  std::vector<fakes::SequenceDriver::Part> parts;
  for (uint32_t i = 0; i < batch; ++i) {
    const uint64_t id = driver.Add(RandomPrompt(kPromptTokens, i, bench.group->vocab_size()), {});
    if (absl::Status status = driver.Prefill(id, kPromptTokens); !status.ok()) return status;
    parts.push_back({id, 1});
  }
  double seconds = 0;
  for (int step = 0; step < kWarmSteps + kSteps; ++step) {
    if (step == kWarmSteps) bench.times->clear();
    const double start = Now();
    if (absl::Status status = driver.Step(parts); !status.ok()) return status;
    if (step >= kWarmSteps) seconds += Now() - start;
  }
  Print(bench, ("decode, batch " + std::to_string(batch)).c_str(), seconds, 1.0 * kSteps * batch,
        kSteps);
  return bench.group->BeginEpoch();
}

absl::Status Prefill(const Bench& bench, uint32_t tokens) {
  fakes::SequenceDriver driver(bench.group);
  double best = 1e9;
  OpTimes of_best;
  for (uint32_t repeat = 0; repeat < 3; ++repeat) {
    bench.times->clear();
    const uint64_t id = driver.Add(RandomPrompt(tokens, repeat, bench.group->vocab_size()), {});
    const double start = Now();
    if (absl::Status status = driver.Prefill(id, tokens); !status.ok()) return status;
    const double seconds = Now() - start;
    driver.Finish(id);
    if (seconds >= best) continue;
    best = seconds;
    of_best = *bench.times;
  }
  *bench.times = of_best;
  Print(bench, ("prefill of " + std::to_string(tokens)).c_str(), best, tokens, 1);
  return bench.group->BeginEpoch();
}

absl::Status Run(const std::string& folder, int threads, const std::string& variant,
                 bool absorbed) {
  absl::StatusOr<std::string> text = ReadModelConfigText(folder);
  if (!text.ok()) return text.status();
  absl::StatusOr<ModelConfig> config = ParseModelConfig(*text);
  if (!config.ok()) return config.status();
  kernels::CpuOptions options;
  options.num_threads_per_device = threads;
  if (!variant.empty()) {
    const auto parsed = kernels::ParseCpuVariant(variant);
    if (!parsed.ok()) return parsed.status();
    options.variant = *parsed;
  }
  const auto plain = kernels::CreateCpuBackend(options);
  if (!plain.ok()) return plain.status();
  OpTimes times;
  const auto backend = TimeOps(plain->get(), &times);
  const MachineRates rates = MeasureMachine(threads);
  std::printf(
      "threads %d; read %.1f GB/s, multiply-add %.1f GFLOP/s in float32, %.1f with vdpbf16ps\n",
      threads, rates.read_gb_per_s, rates.fma_gflop_per_s, rates.dot_gflop_per_s);
  fakes::StageGroupOptions group_options;
  group_options.config = *config;
  group_options.backend = backend.get();
  group_options.compute_type = DataType::kBFloat16;
  group_options.max_step_tokens = kLargestPrefill;
  group_options.expand_prompts = !absorbed && backend->expands_prompts();
  std::unique_ptr<fakes::StageGroup> group;
  {
    const absl::StatusOr<fakes::MemoryCheckpoint> checkpoint =
        fakes::MemoryCheckpoint::Read(folder);
    if (!checkpoint.ok()) return checkpoint.status();
    group_options.checkpoint = &*checkpoint;
    const double start = Now();
    absl::StatusOr<std::unique_ptr<fakes::StageGroup>> created =
        fakes::StageGroup::Create(group_options);
    if (!created.ok()) return created.status();
    group = std::move(*created);
    const double bytes = static_cast<double>(group->executor(0).weight_bytes());
    std::printf("packed %.2f GB in %.2f s\n", bytes * 1e-9, Now() - start);
  }
  const Bench bench = {group.get(), &times, rates};
  for (const uint32_t batch : {1, 8, 32}) {
    if (absl::Status status = Decode(bench, batch); !status.ok()) return status;
  }
  for (const uint32_t tokens : {512, 2048}) {
    if (absl::Status status = Prefill(bench, tokens); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace baton::bench

int main(int argc, char** argv) {
  int threads = 2;
  const bool absorbed = argc == 5 && std::strcmp(argv[4], "absorbed") == 0;
  if (argc < 2 || (argc > 4 && !absorbed) || (argc > 2 && !absl::SimpleAtoi(argv[2], &threads)) ||
      threads < 1) {
    std::fprintf(stderr, "usage: steps_bench MODEL_DIR [THREADS [VARIANT [absorbed]]]\n");
    return 2;
  }
  const absl::Status status =
      baton::bench::Run(argv[1], threads, argc > 3 ? argv[3] : "", absorbed);
  if (status.ok()) return 0;
  std::fprintf(stderr, "steps_bench: %s\n", std::string(status.message()).c_str());
  return 1;
}
