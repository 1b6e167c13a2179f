#include "tests/bench/cuda_launches.h"

#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/device_probe.h"
#include "kernels/cuda/expert_gemm.h"
#include "kernels/cuda/launches/cuda_stream.h"
#include "kernels/cuda/launches/device_memory.h"
#include "kernels/cuda/launches/quantise.h"
#include "kernels/cuda/launches/sampling.h"
#include "kernels/cuda/plan/draw_threads.h"
#include "kernels/cuda/plan/expert_plan.h"
#include "kernels/cuda/weight_tables.h"
#include "tests/bench/cuda_rows.h"

namespace baton::kernels {
namespace {

using cuda::CheckCuda;
using cuda::DrawLaunch;
using cuda::DrawOutcome;
using cuda::DrawParams;
using cuda::ExpertShape;

// A layer's experts, and tables of them on the device.
struct Layer {
  explicit Layer(Ops& ops)
      : gate_up(DataType::kFloat8E4M3, kRank.expert_width, kRank.hidden),
        down(DataType::kFloat8E4M3, kRank.hidden, kRank.expert_width) {
    for (int64_t e = 0; e < kRank.experts; ++e) routed.push_back(Make(ops));
    shared = Make(ops);
  }

  FeedForwardWeights Make(Ops& ops) {
    FeedForwardWeights expert;
    for (const PackedWeight** weight : {&expert.gate, &expert.up, &expert.down}) {
      owned.push_back((weight == &expert.down ? down : gate_up).Make(ops));
      *weight = owned.back().get();
    }
    return expert;
  }

  WeightMaker gate_up;
  WeightMaker down;
  std::vector<std::unique_ptr<PackedWeight>> owned;
  std::vector<FeedForwardWeights> routed;
  FeedForwardWeights shared;
};

// Each call's choices, different experts for each, and how many of them there are on average.
struct Choices {
  Choices(Ops& ops, int64_t rows) {
    std::mt19937 random(static_cast<uint32_t>(rows));
    const auto size = static_cast<size_t>(rows * kRank.top_k);
    for (size_t call = 0; call < kMeasuredCalls; ++call) {
      std::vector<int32_t> all;
      for (int64_t row = 0; row < rows; ++row) {
        std::set<int32_t> chosen;
        while (static_cast<int64_t>(chosen.size()) < kRank.top_k) {
          chosen.insert(static_cast<int32_t>(random() % static_cast<uint32_t>(kRank.experts)));
        }
        all.insert(all.end(), chosen.begin(), chosen.end());
      }
      distinct += static_cast<double>(std::set<int32_t>(all.begin(), all.end()).size());
      experts.push_back(std::make_unique<DeviceList<int32_t>>(ops, all));
    }
    distinct /= double{kMeasuredCalls};
    weights = std::make_unique<DeviceList<float>>(ops, std::vector<float>(size, 0.125f));
  }

  std::vector<std::unique_ptr<DeviceList<int32_t>>> experts;
  std::unique_ptr<DeviceList<float>> weights;
  double distinct = 0.0;
};

// What a step's launches read and write, each call its own rows and tiles.
class ExpertStep {
 public:
  ExpertStep(Ops& ops, int64_t rows, const Choices& choices)
      : shape_{.tokens = rows,
               .top_k = kRank.top_k,
               .num_experts = kRank.experts,
               .shared = true,
               .hidden = kRank.hidden,
               .intermediate = kRank.expert_width},
        sizes_(ExpertScratchOf(shape_)),
        x_(ops, DataType::kBFloat16, rows, kRank.hidden),
        codes_(ops, DataType::kFloat8E4M3, rows, kRank.hidden),
        scales_(ops, DataType::kFloat32, kRank.hidden / cuda::kScaleBlock, rows),
        inner_(ops, DataType::kFloat8E4M3, sizes_.pairs, kRank.expert_width),
        inner_scales_(ops, DataType::kFloat32, kRank.expert_width / cuda::kScaleBlock,
                      sizes_.pairs),
        pair_out_(ops, DataType::kFloat32, sizes_.pairs, kRank.hidden),
        out_(ops, DataType::kFloat32, rows, kRank.hidden),
        choices_(choices) {
    for (size_t call = 0; call < kMeasuredCalls; ++call) {
      pairs_.push_back(std::make_unique<DeviceList<int32_t>>(
          ops, std::vector<int32_t>(static_cast<size_t>(sizes_.pairs))));
      tiles_.push_back(std::make_unique<DeviceList<cuda::ExpertTileRows>>(
          ops, std::vector<cuda::ExpertTileRows>(static_cast<size_t>(sizes_.tiles))));
      num_tiles_.push_back(std::make_unique<DeviceList<int32_t>>(ops, std::vector<int32_t>(1)));
    }
  }

  const TensorView& x() const { return x_.view; }
  const TensorView& out() const { return out_.view; }

  void Quantise(cudaStream_t stream) const {
    cuda::LaunchQuantise(x_.view, static_cast<uint8_t*>(codes_.view.data),
                         static_cast<float*>(scales_.view.data), stream);
  }
  void Schedule(size_t call, cudaStream_t stream) const {
    CheckCuda(LaunchExpertSchedule(choices_.experts[call]->data(), RowsOf(call), true, stream),
              "schedule of experts");
  }
  cuda::ExpertGemmArgs Gemm(size_t call, const cuda::ExpertWeights* experts) const {
    cuda::ExpertGemmArgs args;
    args.experts = experts;
    args.x = static_cast<const uint8_t*>(codes_.view.data);
    args.x_stride = kRank.hidden;
    args.x_scales = static_cast<const float*>(scales_.view.data);
    args.x_scale_stride = shape_.tokens;
    args.inner = static_cast<uint8_t*>(inner_.view.data);
    args.inner_scales = static_cast<float*>(inner_scales_.view.data);
    args.inner_scale_stride = sizes_.pairs;
    args.pair_out = static_cast<float*>(pair_out_.view.data);
    args.pair_stride = kRank.hidden;
    args.hidden = static_cast<int>(kRank.hidden);
    args.intermediate = static_cast<int>(kRank.expert_width);
    args.rows = RowsOf(call);
    args.programmatic = true;
    return args;
  }
  void Combine(size_t call, cudaStream_t stream) const {
    cuda::ExpertCombineArgs args;
    args.pair_out = static_cast<const float*>(pair_out_.view.data);
    args.experts = choices_.experts[call]->data();
    args.slot_weights = choices_.weights->data();
    args.out = static_cast<float*>(out_.view.data);
    args.out_stride = kRank.hidden;
    args.hidden = static_cast<int>(kRank.hidden);
    args.tokens = static_cast<int>(shape_.tokens);
    args.top_k = static_cast<int>(kRank.top_k);
    args.shared = true;
    args.programmatic = true;
    CheckCuda(LaunchExpertCombine(args, stream), "combination of experts");
  }

 private:
  cuda::ExpertRows RowsOf(size_t call) const {
    return {.pair_of_row = pairs_[call]->data(),
            .tiles = tiles_[call]->data(),
            .num_tiles = num_tiles_[call]->data(),
            .tokens = static_cast<int>(shape_.tokens),
            .top_k = static_cast<int>(kRank.top_k),
            .num_experts = static_cast<int>(kRank.experts),
            .shared = true,
            .width = shape_.width()};
  }

  ExpertShape shape_;
  cuda::ExpertScratch sizes_;
  DeviceTensor x_;
  DeviceTensor codes_;
  DeviceTensor scales_;
  DeviceTensor inner_;
  DeviceTensor inner_scales_;
  DeviceTensor pair_out_;
  DeviceTensor out_;
  const Choices& choices_;
  std::vector<std::unique_ptr<DeviceList<int32_t>>> pairs_;
  std::vector<std::unique_ptr<DeviceList<cuda::ExpertTileRows>>> tiles_;
  std::vector<std::unique_ptr<DeviceList<int32_t>>> num_tiles_;
};

// Rows of a bell curve, none like another.
std::vector<float> Logits(int64_t rows, int64_t vocabulary) {
  std::mt19937 random(3);
  std::normal_distribution<float> bell(0.0f, 3.0f);
  std::vector<float> line(static_cast<size_t>(vocabulary + rows));
  for (float& logit : line) logit = bell(random);
  std::vector<float> logits;
  for (int64_t row = 0; row < rows; ++row) {
    logits.insert(logits.end(), line.begin() + row, line.begin() + row + vocabulary);
  }
  return logits;
}

void MeasureStep(Ops& ops, cudaStream_t stream, const Layer& layer,
                 const cuda::ExpertWeights* table, int64_t rows) {
  const Choices choices(ops, rows);
  const ExpertStep step(ops, rows, choices);
  const double distinct = choices.distinct;
  const auto measure = [&](const std::string& name, const Floor& floor, const auto& call) {
    PrintRow(name, rows, MeasureCalls(ops, call), floor);
  };
  measure("quantisation", QuantiseFloor(rows, kRank.hidden),
          [&](size_t) { step.Quantise(stream); });
  measure("schedule of experts", ScheduleFloor(rows),
          [&](size_t call) { step.Schedule(call, stream); });
  measure("gate and up of experts", ExpertGateUpFloor(rows, distinct), [&](size_t call) {
    CheckCuda(LaunchExpertGateUp(step.Gemm(call, table), stream), "gate and up of experts");
  });
  measure("down of experts", ExpertDownFloor(rows, distinct), [&](size_t call) {
    CheckCuda(LaunchExpertDown(step.Gemm(call, table), stream), "down of experts");
  });
  measure("combination of experts", ExpertCombineFloor(rows),
          [&](size_t call) { step.Combine(call, stream); });
  measure("all of experts", ExpertsFloor(rows, distinct), [&](size_t call) {
    ExpertsArgs args;
    args.x = step.x();
    args.experts = choices.experts[call]->span();
    args.slot_weights = choices.weights->span();
    args.top_k = kRank.top_k;
    args.expert_weights = layer.routed;
    args.shared = layer.shared;
    args.out = step.out();
    ops.Experts(args);
  });
}

}  // namespace

void MeasureExpertLaunches(Ops& ops, const std::vector<int64_t>& steps) {
  const cudaStream_t stream = static_cast<cuda::CudaOps&>(ops).stream();
  absl::StatusOr<cuda::DeviceTraits> traits = cuda::ProbeDevice(0);
  if (!traits.ok() || !traits->is_hopper) {
    absl::PrintF("no launches of experts: they need compute capability 9.0\n");
    return;
  }
  Layer layer(ops);
  auto ring = cuda::PinnedRing::Create(stream);
  if (!ring.ok()) {
    absl::PrintF("no launches of experts: %s\n", std::string(ring.status().message()));
    return;
  }
  cuda::WeightTables tables;
  const cuda::ExpertWeights* table =
      tables.MappedExperts(layer.routed, layer.shared, **ring, stream);
  for (const int64_t rows : steps) MeasureStep(ops, stream, layer, table, rows);
}

void MeasureDrawLaunches(Ops& ops, const std::vector<int64_t>& steps) {
  const cudaStream_t stream = static_cast<cuda::CudaOps&>(ops).stream();
  const int64_t vocabulary = kRank.vocabulary * kRank.ranks;
  const auto words = static_cast<size_t>(cuda::MarkWords(static_cast<int32_t>(vocabulary)));
  for (const int64_t rows : steps) {
    const auto count = static_cast<size_t>(rows);
    const DeviceList<float> logits(ops, Logits(rows, vocabulary));
    const DeviceTensor values(ops, DataType::kFloat32, rows, vocabulary);
    const DeviceList<uint32_t> kept(ops, std::vector<uint32_t>(count * words));
    const DeviceList<DrawOutcome> outcomes(ops, std::vector<DrawOutcome>(count));
    for (const bool greedy : {true, false}) {
      DrawParams params;
      params.temperature = greedy ? 0.0f : 0.6f;
      params.top_p = greedy ? 1.0f : 0.95f;
      const DeviceList<DrawParams> parameters(ops, std::vector<DrawParams>(count, params));
      DrawLaunch launch;
      launch.logits = logits.data();
      launch.logits_stride = vocabulary;
      launch.vocabulary = static_cast<int32_t>(vocabulary);
      launch.num_rows = static_cast<int32_t>(rows);
      launch.rows = parameters.data();
      launch.values = static_cast<float*>(values.view.data);
      launch.kept = kept.data();
      launch.outcomes = outcomes.data();
      const double measured = MeasureCalls(ops, [&](size_t) { cuda::LaunchDraws(launch, stream); });
      PrintRow(greedy ? "draw, greedy" : "draw, top_p 0.95", rows, measured,
               DrawFloor(rows, vocabulary));
    }
  }
}

}  // namespace baton::kernels
