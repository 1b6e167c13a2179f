// Measures the operations of one layer of DeepSeek-R1 at the shapes of one of eight ranks, on the
// first GPU, against the time that their bytes or their arithmetic take at least (cuda_floors.h).
//
//   cuda_bench [--probe]      --probe: says which device there is, or why there is none
//
// Weights are synthetic and rotated, so that no repetition finds the last one's in the cache.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"

#include "kernels/cuda/cuda_backend.h"
#include "tests/bench/cuda_launches.h"
#include "tests/bench/cuda_rows.h"

namespace baton::kernels {
namespace {

constexpr DataType kFp8 = DataType::kFloat8E4M3;
constexpr DataType kBf16 = DataType::kBFloat16;
constexpr DataType kFp32 = DataType::kFloat32;
constexpr int64_t kContext = 4096;
const std::vector<int64_t> kDecode = {1, 8, 64, 128};
const std::vector<int64_t> kSteps = {1, 8, 64, 128, 2048};
const std::vector<int64_t> kProductSteps = {1, 8, 64, 128, 512, 2048};

void MeasureLinear(Ops& ops, const std::string& name, DataType type, int64_t n, int64_t k,
                   DataType out_type, const std::vector<int64_t>& steps = kProductSteps) {
  const auto weights = WeightMaker(type, n, k).MakeRotated(ops);
  for (const int64_t rows : steps) {
    const DeviceTensor x(ops, kBf16, rows, k);
    const DeviceTensor out(ops, out_type, rows, n);
    const double measured = MeasureCalls(ops, [&](size_t i) {
      ops.Linear({x.view, weights[i % weights.size()].get(), out.view});
    });
    PrintRow(name, rows, measured, LinearFloor(type, n, k, rows, out_type));
  }
}

// W_UK and W_UV: a weight per head.
void MeasureHeadwise(Ops& ops, const std::string& name, int64_t n, int64_t k) {
  const WeightMaker maker(kBf16, n, k);
  std::vector<std::unique_ptr<PackedWeight>> owned;
  std::vector<std::vector<const PackedWeight*>> layers(kMeasuredCalls);
  for (std::vector<const PackedWeight*>& heads : layers) {
    for (int64_t h = 0; h < kRank.heads; ++h) {
      owned.push_back(maker.Make(ops));
      heads.push_back(owned.back().get());
    }
  }
  for (const int64_t rows : kSteps) {
    const DeviceTensor x(ops, kBf16, rows, kRank.heads * k);
    const DeviceTensor out(ops, kBf16, rows, kRank.heads * n);
    const double measured = MeasureCalls(ops, [&](size_t i) {
      ops.HeadwiseLinear({x.view, k, layers[i], out.view});
    });
    PrintRow(name, rows, measured, LinearFloor(kBf16, n, k, rows, kBf16, kRank.heads));
  }
}

void MeasureNorms(Ops& ops) {
  for (const int64_t rows : kSteps) {
    const int64_t columns = kRank.hidden;
    const DeviceTensor residual(ops, kBf16, rows, columns);
    const DeviceTensor delta(ops, kFp32, rows, columns);
    const DeviceTensor weight(ops, kFp32, 1, columns);
    const DeviceTensor out(ops, kBf16, rows, columns);
    double measured = MeasureCalls(ops, [&](size_t) {
      ops.AddRmsNorm({residual.view, delta.view, weight.view, 1e-6f, out.view});
    });
    PrintRow("add + norm", rows, measured, AddNormFloor(rows, columns));
    measured = MeasureCalls(ops, [&](size_t) { ops.Add({residual.view, delta.view, out.view}); });
    PrintRow("add", rows, measured, AddFloor(rows, columns));
    const TensorView q = residual.view.Columns(0, kRank.q_lora);
    measured = MeasureCalls(ops, [&](size_t) {
      ops.RmsNorm({q, weight.view.Columns(0, kRank.q_lora), 1e-6f, out.view.Columns(0, q.columns)});
    });
    PrintRow("norm of q", rows, measured, NormFloor(rows, kRank.q_lora));
  }
}

// A step's layout in device memory: a sequence per row at its last position, or one sequence's
// first rows.
class StepOnDevice {
 public:
  StepOnDevice(Ops& ops, int64_t rows, bool one_sequence)
      : blocks_((one_sequence ? rows : kContext) / kBlockTokens),
        positions_(ops, Positions(rows, one_sequence)),
        sequences_(ops, one_sequence ? std::vector<int32_t>(rows) : Numbers(rows)),
        tables_(ops, Numbers(one_sequence ? blocks_ : rows * blocks_)),
        pages_(ops, kBf16, (one_sequence ? 1 : rows) * blocks_ * kBlockTokens,
               kRank.latent + kRank.rope) {}

  StepLayout layout() const {
    return {positions_.span(), sequences_.span(), tables_.span(), blocks_};
  }
  KvPages cache() const { return {pages_.view, kRank.latent, kRank.rope}; }

 private:
  static std::vector<int32_t> Numbers(int64_t count) {
    std::vector<int32_t> numbers;
    for (int64_t i = 0; i < count; ++i) numbers.push_back(static_cast<int32_t>(i));
    return numbers;
  }
  static std::vector<int32_t> Positions(int64_t rows, bool one_sequence) {
    return one_sequence ? Numbers(rows) : std::vector<int32_t>(rows, kContext - 1);
  }

  int64_t blocks_;
  DeviceList<int32_t> positions_;
  DeviceList<int32_t> sequences_;
  DeviceList<int32_t> tables_;
  DeviceTensor pages_;
};

void MeasureAttention(Ops& ops) {
  for (const int64_t rows : kSteps) {
    const bool chunk = rows > kDecode.back();
    const StepOnDevice step(ops, rows, chunk);
    const DeviceTensor table(ops, kFp32, kContext, kRank.rope);
    const DeviceTensor q(ops, kBf16, rows, kRank.heads * kRank.head_dims);
    const DeviceTensor kv(ops, kBf16, rows, kRank.latent + kRank.rope);
    const DeviceTensor q_latent(ops, kBf16, rows, kRank.heads * kRank.latent);
    const DeviceTensor out(ops, kBf16, rows, kRank.heads * kRank.latent);
    const int64_t plain_dims = kRank.head_dims - kRank.rope;
    const TensorView q_rope = q.view.Columns(plain_dims, q.view.columns - plain_dims);
    double measured = MeasureCalls(ops, [&](size_t) {
      ops.Rope(
          {q_rope, kRank.heads, kRank.head_dims, kRank.rope, step.layout().positions, table.view});
    });
    PrintRow("rope of queries", rows, measured, RopeFloor(rows, kRank.heads));
    measured = MeasureCalls(ops, [&](size_t) {
      ops.KvWrite({kv.view.Columns(0, kRank.latent), kv.view.Columns(kRank.latent, kRank.rope),
                   step.layout(), step.cache(), table.view});
    });
    PrintRow("rope and cache write", rows, measured, KvWriteFloor(rows));
    MlaAttentionArgs args;
    args.q_latent = q_latent.view;
    args.q_rope = q_rope;
    args.q_rope_head_stride = kRank.head_dims;
    args.heads = kRank.heads;
    args.scale = 0.135f;
    args.layout = step.layout();
    args.cache = step.cache();
    args.out = out.view;
    measured = MeasureCalls(ops, [&](size_t) { ops.MlaAttention(args); });
    PrintRow(chunk ? "latent attention, first chunk" : "latent attention, 4096 keys", rows,
             measured, chunk ? PrefillAttentionFloor(rows) : DecodeAttentionFloor(rows, kContext));
  }
}

void MeasureEmbedding(Ops& ops) {
  const DeviceTensor table(ops, kBf16, kRank.vocabulary, kRank.hidden);
  for (const int64_t rows : kSteps) {
    std::vector<uint32_t> ids;
    for (int64_t r = 0; r < rows; ++r)
      ids.push_back(static_cast<uint32_t>(r * 7919 % kRank.vocabulary));
    const DeviceList<uint32_t> tokens(ops, ids);
    const DeviceTensor out(ops, kFp32, rows, kRank.hidden);
    const double measured = MeasureCalls(ops, [&](size_t) {
      ops.Embed({tokens.span(), table.view, 0, out.view});
    });
    PrintRow("embedding", rows, measured, EmbedFloor(rows));
  }
}

void MeasureRouter(Ops& ops) {
  const DeviceTensor bias(ops, kFp32, 1, kRank.experts);
  for (const int64_t rows : kSteps) {
    const DeviceTensor logits(ops, kFp32, rows, kRank.experts);
    const DeviceList<int32_t> experts(ops, std::vector<int32_t>(rows * kRank.top_k));
    const DeviceList<float> weights(ops, std::vector<float>(rows * kRank.top_k));
    SelectExpertsArgs args;
    args.logits = logits.view;
    args.bias = bias.view;
    args.params = {.num_experts = kRank.experts,
                   .num_groups = 8,
                   .num_kept_groups = 4,
                   .top_k = kRank.top_k,
                   .scaling_factor = 2.5f};
    args.experts = experts.span();
    args.weights = weights.span();
    const double measured = MeasureCalls(ops, [&](size_t) { ops.SelectExperts(args); });
    PrintRow("choice of experts", rows, measured, RouterFloor(rows));
  }
}

// The ranks of a team on this one device.
void MeasureSums(Backend& backend) {
  auto team = backend.CreateTeam(static_cast<int>(kRank.ranks), 1);
  if (!team.ok()) {
    absl::PrintF("no sums: %s\n", std::string(team.status().message()));
    return;
  }
  Ops& ops = *team->devices[0].ops;
  Collectives& collectives = *team->devices[0].collectives;
  const auto measure = [&](int64_t rows, int64_t columns, bool gathers) {
    std::vector<std::unique_ptr<DeviceTensor>> parts;
    std::vector<TensorView> views;
    for (int64_t rank = 0; rank < kRank.ranks; ++rank) {
      parts.push_back(std::make_unique<DeviceTensor>(ops, kFp32, rows, columns));
      views.push_back(parts.back()->view);
    }
    const DeviceTensor out(ops, kFp32, rows, gathers ? columns * kRank.ranks : columns);
    return MeasureCalls(ops, [&](size_t) {
      if (gathers) {
        collectives.AllGatherColumns(views, out.view);
      } else {
        collectives.AllReduceSum(views, out.view);
      }
    });
  };
  for (const int64_t rows : kSteps) {
    PrintRow("sum of 8 ranks here", rows, measure(rows, kRank.hidden, false),
             SumFloor(rows, kRank.hidden));
  }
  for (const int64_t rows : kDecode) {
    PrintRow("gather of logits here", rows, measure(rows, kRank.vocabulary, true),
             GatherFloor(rows, kRank.vocabulary));
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
  const auto measure = [&](const std::string& name, int64_t n, int64_t k, DataType out_type) {
    MeasureLinear(ops, name, kFp8, n, k, out_type, {512, 2048});
  };
  measure("q_a, cuBLASLt", kRank.q_lora, kRank.hidden, kBf16);
  measure("kv_a, cuBLASLt", kRank.latent + kRank.rope, kRank.hidden, kBf16);
  measure("q_b, cuBLASLt", kRank.heads * kRank.head_dims, kRank.q_lora, kBf16);
  measure("o, cuBLASLt", kRank.hidden, kRank.heads * kRank.value_dims, kFp32);
}

void MeasureAll(Backend& backend, Ops& ops) {
  MeasureNorms(ops);
  MeasureLinear(ops, "q_a", kFp8, kRank.q_lora, kRank.hidden, kBf16);
  MeasureLinear(ops, "kv_a", kFp8, kRank.latent + kRank.rope, kRank.hidden, kBf16);
  MeasureLinear(ops, "q_b", kFp8, kRank.heads * kRank.head_dims, kRank.q_lora, kBf16);
  MeasureHeadwise(ops, "W_UK", kRank.latent, 128);
  MeasureAttention(ops);
  MeasureHeadwise(ops, "W_UV", kRank.value_dims, kRank.latent);
  MeasureLinear(ops, "o", kFp8, kRank.hidden, kRank.heads * kRank.value_dims, kFp32);
  MeasureLinear(ops, "router", kBf16, kRank.experts, kRank.hidden, kFp32);
  MeasureRouter(ops);
  MeasureExpertLaunches(ops, kSteps);
  MeasureEmbedding(ops);
  MeasureLinear(ops, "head", kBf16, kRank.vocabulary, kRank.hidden, kFp32);
  MeasureDrawLaunches(ops, kDecode);
  MeasureSums(backend);
  MeasureCublas();
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
  PrintHead();
  MeasureAll(**backend, *team->devices[0].ops);
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
