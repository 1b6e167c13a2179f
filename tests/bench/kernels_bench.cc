// Rates of the CPU kernels beside the machine's own. Bytes are those of the weights (or of the
// cache) that a call reads once, FLOP are two per multiplication. of_read, of_fma and of_dot are
// shares of what as many threads can read from memory, and multiply in registers as float32 and
// with vdpbf16ps, measured before.
//
//   kernels_bench --benchmark_filter='linear/avx512_bf16/.*m:1/'
#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>

#include "absl/strings/str_cat.h"

#include "common/tensor/aligned_buffer.h"
#include "kernels/cpu/cpu_backend.h"
#include "tests/bench/machine_rates.h"

namespace baton::kernels {
namespace {

struct Shape {
  const char* name;
  int64_t n;
  int64_t k;
};

// The demo model whole and at eight ranks; one rank of eight of DeepSeek-R1; `baton mini-r1`.
constexpr Shape kShapes[] = {
    {"demo_ffn_up", 1024, 256},   {"demo_q_b", 384, 128},         {"demo_head", 2048, 256},
    {"demo8_expert_up", 16, 256}, {"demo8_expert_down", 256, 16}, {"r1_qkv_a", 2112, 7168},
    {"r1_q_b", 3072, 1536},       {"r1_o_proj", 7168, 2048},      {"mini_o_proj", 2048, 2048},
};

void Fill(TensorView view, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  for (int64_t r = 0; r < view.rows; ++r) {
    for (int64_t c = 0; c < view.columns; ++c) {
      if (view.type == DataType::kFloat32) view.Row<float>(r)[c] = normal(random);
      if (view.type == DataType::kBFloat16) view.Row<BFloat16>(r)[c] = ToBFloat16(normal(random));
      if (view.type == DataType::kFloat8E4M3) {
        view.Row<Float8E4M3>(r)[c].bits = static_cast<uint8_t>(random() & 0x77);
      }
    }
  }
}

struct Memory {
  Memory(DataType type, int64_t rows, int64_t columns)
      : buffer(rows * columns * SizeOf(type)), view{buffer.data(), type, rows, columns, columns} {
    Fill(view, static_cast<uint32_t>(rows + columns));
  }

  AlignedBuffer buffer;
  TensorView view;
};

std::unique_ptr<PackedWeight> MakeWeight(Ops& ops, DataType weight_type, DataType compute_type,
                                         int64_t n, int64_t k) {
  const Memory values(weight_type, n, k);
  const Memory scales(DataType::kFloat32, n / 128 + 1, k / 128 + 1);
  return ops.Pack({values.view, scales.view}, compute_type);
}

Team MakeTeam(CpuVariant variant, int threads) {
  CpuOptions options;
  options.num_threads_per_device = threads;
  options.variant = variant;
  return (*CreateCpuBackend(options))->CreateTeam(1, 1).value();
}

const bench::MachineRates& RatesOf(int threads) {
  static std::map<int, bench::MachineRates> rates;
  const auto found = rates.find(threads);
  if (found != rates.end()) return found->second;
  return rates.emplace(threads, bench::MeasureMachine(threads)).first->second;
}

void SetRates(benchmark::State& state, double bytes, double multiplications, int threads = 1) {
  const auto set = [&](const char* name, double value) {
    state.counters[name] = benchmark::Counter(value, benchmark::Counter::kIsIterationInvariantRate);
  };
  const bench::MachineRates& rates = RatesOf(threads);
  set("GB/s", bytes * 1e-9);
  set("of_read", bytes * 1e-9 / rates.read_gb_per_s);
  set("GFLOP/s", 2 * multiplications * 1e-9);
  if (rates.fma_gflop_per_s > 0) {
    set("of_fma", 2 * multiplications * 1e-9 / rates.fma_gflop_per_s);
  }
  if (rates.dot_gflop_per_s > 0) {
    set("of_dot", 2 * multiplications * 1e-9 / rates.dot_gflop_per_s);
  }
}

struct LinearCase {
  CpuVariant variant;
  DataType weight_type;
  DataType compute_type;
  Shape shape;
  int64_t m;
  int threads;
};

void RunLinear(benchmark::State& state, const LinearCase& c) {
  Team team = MakeTeam(c.variant, c.threads);
  Ops& ops = *team.devices[0].ops;
  // Enough copies that small weights do not stay in the first cache for longer than in a model.
  const int copies = c.shape.n * c.shape.k < (1 << 20) ? 16 : 4;
  std::vector<std::unique_ptr<PackedWeight>> weights;
  for (int i = 0; i < copies; ++i) {
    weights.push_back(MakeWeight(ops, c.weight_type, c.compute_type, c.shape.n, c.shape.k));
  }
  const Memory x(c.compute_type, c.m, c.shape.k);
  const Memory out(DataType::kFloat32, c.m, c.shape.n);
  size_t next = 0;
  for (auto _ : state) {
    ops.Linear({x.view, weights[next].get(), out.view});
    next = (next + 1) % weights.size();
  }
  SetRates(state, static_cast<double>(weights[0]->bytes()),
           static_cast<double>(c.m * c.shape.n * c.shape.k), c.threads);
}

// Rows of a head, larger than the caches, as they are or compact.
struct CompactCase {
  CpuVariant variant;
  bool compact;
  int64_t m;
  int threads;
};

void RunCompact(benchmark::State& state, const CompactCase& c) {
  constexpr int64_t kColumns = 16384;
  constexpr int64_t kDepth = 2048;
  cpu::VariantKernels kernels = **FindCpuKernels(c.variant);
  kernels.compact_from = c.compact ? 1 : INT64_MAX;
  const auto backend = CreateCpuBackendWith(kernels, c.threads).value();
  Team team = backend->CreateTeam(1, 1).value();
  Ops& ops = *team.devices[0].ops;
  const Memory values(DataType::kBFloat16, kColumns, kDepth);
  std::vector<std::unique_ptr<PackedWeight>> weights;
  for (int i = 0; i < 4; ++i) {
    weights.push_back(ops.Pack({.values = values.view}, DataType::kBFloat16));
  }
  const Memory x(DataType::kBFloat16, c.m, kDepth);
  const Memory out(DataType::kFloat32, c.m, kColumns);
  size_t next = 0;
  for (auto _ : state) {
    ops.Linear({x.view, weights[next].get(), out.view});
    next = (next + 1) % weights.size();
  }
  SetRates(state, static_cast<double>(weights[0]->bytes()),
           static_cast<double>(c.m * kColumns * kDepth), c.threads);
}

struct AttentionCase {
  CpuVariant variant;
  DataType type;
  int64_t heads;
  int64_t latent_dims;
  int64_t rope_dims;
  int32_t length;
};

void RunAttention(benchmark::State& state, const AttentionCase& c) {
  Team team = MakeTeam(c.variant, 1);
  Ops& ops = *team.devices[0].ops;
  const int64_t blocks = (c.length + kBlockTokens - 1) / kBlockTokens;
  const Memory pages(c.type, blocks * kBlockTokens, c.latent_dims + c.rope_dims);
  const Memory q_latent(c.type, 1, c.heads * c.latent_dims);
  const Memory q_rope(c.type, 1, c.heads * c.rope_dims);
  const Memory out(c.type, 1, c.heads * c.latent_dims);
  std::vector<int32_t> table;
  for (int32_t block = 0; block < blocks; ++block) table.push_back(block);
  const std::vector<int32_t> positions = {c.length - 1};
  const std::vector<int32_t> sequences = {0};
  MlaAttentionArgs args;
  args.q_latent = q_latent.view;
  args.q_rope = q_rope.view;
  args.heads = c.heads;
  args.scale = 0.01f;
  args.layout = {positions, sequences, table, blocks};
  args.cache = {pages.view, c.latent_dims, c.rope_dims};
  args.out = out.view;
  for (auto _ : state) ops.MlaAttention(args);
  const double width = static_cast<double>(c.latent_dims + c.rope_dims);
  SetRates(state, c.length * width * static_cast<double>(SizeOf(c.type)),
           static_cast<double>(c.length * c.heads) * (width + static_cast<double>(c.latent_dims)));
}

struct ExpertsCase {
  CpuVariant variant;
  int64_t tokens;
  int64_t hidden;
  int64_t intermediate;
  int num_experts;
  int64_t top_k;
};

void RunExperts(benchmark::State& state, const ExpertsCase& c) {
  Team team = MakeTeam(c.variant, 1);
  Ops& ops = *team.devices[0].ops;
  constexpr DataType kCompute = DataType::kBFloat16;
  std::vector<std::unique_ptr<PackedWeight>> owned;
  const auto make = [&](int64_t n, int64_t k) {
    owned.push_back(MakeWeight(ops, DataType::kFloat8E4M3, kCompute, n, k));
    return owned.back().get();
  };
  const auto network = [&] {
    return FeedForwardWeights{make(c.intermediate, c.hidden), make(c.intermediate, c.hidden),
                              make(c.hidden, c.intermediate)};
  };
  std::vector<FeedForwardWeights> networks;
  for (int e = 0; e < c.num_experts; ++e) networks.push_back(network());
  const FeedForwardWeights shared = network();
  std::vector<int32_t> experts;
  for (int64_t slot = 0; slot < c.tokens * c.top_k; ++slot) {
    experts.push_back(static_cast<int32_t>(slot * 5 % c.num_experts));
  }
  const std::vector<float> slot_weights(experts.size(), 0.3f);
  const Memory x(kCompute, c.tokens, c.hidden);
  const Memory out(DataType::kFloat32, c.tokens, c.hidden);
  for (auto _ : state) {
    ops.Experts({x.view, experts, slot_weights, c.top_k, networks, shared, out.view});
  }
  const double network_size = 3.0 * static_cast<double>(c.hidden * c.intermediate);
  const int64_t hit = std::min<int64_t>(c.num_experts, c.tokens * c.top_k);
  SetRates(state, network_size * static_cast<double>(hit + 1),
           network_size * static_cast<double>(c.tokens * (c.top_k + 1)));
}

void RunSampling(benchmark::State& state, CpuVariant variant, const SamplingRow& row) {
  Team team = MakeTeam(variant, 1);
  const Memory logits(DataType::kFloat32, 1, 129280);
  std::vector<SampleResult> results(1);
  SamplingRow next = row;
  for (auto _ : state) {
    ++next.position;
    team.devices[0].ops->Sample({logits.view, {&next, 1}, results});
  }
  SetRates(state, 129280.0 * 4, 0.0);
}

void RunAllReduce(benchmark::State& state, int64_t rows, int devices) {
  Team team = (*CreateCpuBackend({}))->CreateTeam(8, devices).value();
  const int64_t per_device = 8 / devices;
  std::vector<std::unique_ptr<Memory>> partials;
  for (int r = 0; r < 8; ++r) {
    partials.push_back(std::make_unique<Memory>(DataType::kFloat32, rows, 256));
  }
  std::vector<std::unique_ptr<Memory>> outs;
  for (int d = 0; d < devices; ++d) {
    outs.push_back(std::make_unique<Memory>(DataType::kFloat32, rows, 256));
  }
  // Every device makes the same number of calls: batches of them between two meetings.
  constexpr int kCalls = 1000;
  const auto work = [&](int d) {
    std::vector<TensorView> views;
    for (int64_t r = 0; r < per_device; ++r) views.push_back(partials[d * per_device + r]->view);
    for (int i = 0; i < kCalls; ++i) {
      team.devices[d].collectives->AllReduceSum(views, outs[d]->view);
    }
  };
  for (auto _ : state) {
    std::vector<std::thread> others;
    for (int d = 1; d < devices; ++d) others.emplace_back(work, d);
    work(0);
    for (std::thread& other : others) other.join();
  }
  state.counters["calls/s"] =
      benchmark::Counter(kCalls, benchmark::Counter::kIsIterationInvariantRate);
}

void RegisterLinear(CpuVariant variant) {
  for (const Shape& shape : kShapes) {
    for (DataType compute : {DataType::kBFloat16, DataType::kFloat32}) {
      for (DataType weight : {DataType::kFloat8E4M3, DataType::kBFloat16}) {
        for (int64_t m : {1, 4, 16, 256}) {
          for (int threads : {1, 2}) {
            const LinearCase c = {variant, weight, compute, shape, m, threads};
            const std::string name =
                absl::StrCat("linear/", Name(variant), "/", shape.name, "/", Name(weight), "_in_",
                             Name(compute), "/m:", m, "/threads:", threads);
            auto* registered = benchmark::RegisterBenchmark(
                name.c_str(), [c](benchmark::State& state) { RunLinear(state, c); });
            // The caller's processor time says too little of several threads.
            if (threads > 1) registered->UseRealTime();
          }
        }
      }
    }
  }
}

void RegisterCompact(CpuVariant variant) {
  for (int threads : {1, 2}) {
    for (int64_t m : {1, 2, 4, 8, 16, 32, 512, 2048}) {
      for (const bool compact : {false, true}) {
        const std::string name =
            absl::StrCat("head/", Name(variant), "/m:", m, compact ? "/compact" : "/plain",
                         "/threads:", threads);
        const CompactCase c = {variant, compact, m, threads};
        auto* registered = benchmark::RegisterBenchmark(
            name.c_str(), [c](benchmark::State& state) { RunCompact(state, c); });
        if (threads > 1) registered->UseRealTime();
      }
    }
  }
}

void RegisterOthers(CpuVariant variant) {
  for (DataType type : {DataType::kBFloat16, DataType::kFloat32}) {
    for (int32_t length : {64, 256, 4096}) {
      const std::string tail = absl::StrCat("/", Name(variant), "/", Name(type), "/", length);
      const AttentionCase cases[] = {{variant, type, 1, 64, 16, length},
                                     {variant, type, 8, 64, 16, length},
                                     {variant, type, 16, 512, 64, length}};
      const char* names[] = {"attention_demo8", "attention_demo", "attention_r1"};
      for (int i = 0; i < 3; ++i) {
        const AttentionCase c = cases[i];
        benchmark::RegisterBenchmark(absl::StrCat(names[i], tail).c_str(),
                                     [c](benchmark::State& state) { RunAttention(state, c); });
      }
    }
  }
  for (int64_t tokens : {1, 16, 128}) {
    const ExpertsCase demo = {variant, tokens, 256, 128, 16, 4};
    const ExpertsCase demo8 = {variant, tokens, 256, 16, 16, 4};
    const ExpertsCase r1 = {variant, tokens, 7168, 256, 32, 8};
    const std::string tail = absl::StrCat("/", Name(variant), "/tokens:", tokens);
    const auto add = [&](const char* name, const ExpertsCase& c) {
      benchmark::RegisterBenchmark(absl::StrCat(name, tail).c_str(),
                                   [c](benchmark::State& state) { RunExperts(state, c); });
    };
    add("experts_demo", demo);
    add("experts_demo8", demo8);
    add("experts_r1", r1);
  }
  const auto sample = [&](const char* name, float temperature, float top_p, uint32_t top_k) {
    SamplingRow row;
    row.temperature = temperature;
    row.top_p = top_p;
    row.top_k = top_k;
    benchmark::RegisterBenchmark(
        absl::StrCat("sample_", name, "/", Name(variant)).c_str(),
        [variant, row](benchmark::State& state) { RunSampling(state, variant, row); });
  };
  sample("greedy", 0.0f, 1.0f, 0);
  sample("plain", 0.7f, 1.0f, 0);
  sample("top_p", 0.7f, 0.95f, 0);
  sample("top_k", 0.7f, 1.0f, 50);
}

void RegisterAll() {
  for (CpuVariant variant : AvailableCpuVariants()) {
    RegisterLinear(variant);
    RegisterCompact(variant);
    RegisterOthers(variant);
  }
  for (int devices : {1, 2}) {
    for (int64_t rows : {1, 512}) {
      benchmark::RegisterBenchmark(
          absl::StrCat("all_reduce/devices:", devices, "/rows:", rows).c_str(),
          [=](benchmark::State& state) { RunAllReduce(state, rows, devices); })
          ->UseRealTime();
    }
  }
}

}  // namespace
}  // namespace baton::kernels

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  baton::kernels::RegisterAll();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
