#include "tests/bench/real_stage.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <set>
#include <utility>

#include "common/log/check.h"
#include "common/status/status_macros.h"
#include "common/tensor/bfloat16.h"

namespace baton::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRanks = 8;
constexpr size_t kPatternBytes = size_t{8} << 20;

uint32_t Mix(uint32_t state) { return state * 1664525u + 1013904223u; }

// Sums and gathers of a rank whose peers add nothing.
class LoneRank final : public kernels::Collectives {
 public:
  explicit LoneRank(kernels::Collectives* alone) : alone_(alone) {}

  void AllReduceSum(std::span<const TensorView> local_partials, TensorView out) override {
    alone_->AllReduceSum(local_partials, out);
  }
  void AllGatherColumns(std::span<const TensorView> local_shards, TensorView out) override {
    alone_->AllGatherColumns(local_shards, out.Columns(0, local_shards[0].columns));
  }
  uint64_t working_bytes() const override { return alone_->working_bytes(); }

 private:
  kernels::Collectives* const alone_;
};

// Values of moderate size: FP8 below 2, bfloat16 and float32 around 0.02, so that products of
// thousands neither vanish nor overflow.
class Pattern {
 public:
  explicit Pattern(DataType type) : bytes_(kPatternBytes) {
    uint32_t state = 12345;
    const size_t size = SizeOf(type);
    for (size_t i = 0; i < kPatternBytes; i += size) {
      state = Mix(state);
      const float value = (static_cast<float>(state >> 8) / 8388608.0f - 1.0f) * 0.03f;
      if (type == DataType::kFloat8E4M3) {
        bytes_[i] = static_cast<std::byte>((state >> 16) & 0xbf);  // no exponent above 7
      } else if (type == DataType::kBFloat16) {
        const BFloat16 rounded = ToBFloat16(value);
        std::memcpy(&bytes_[i], &rounded, size);
      } else {
        std::memcpy(&bytes_[i], &value, size);
      }
    }
  }

  void Fill(std::span<std::byte> to, uint32_t seed) const {
    size_t from = Mix(seed) % (kPatternBytes / 64) * 64;
    while (!to.empty()) {
      const size_t count = std::min(to.size(), kPatternBytes - from);
      std::memcpy(to.data(), bytes_.data() + from, count);
      to = to.subspan(count);
      from = 0;
    }
  }

 private:
  std::vector<std::byte> bytes_;
};

void FillFloats(std::span<std::byte> to, float value) {
  for (size_t i = 0; i < to.size(); i += sizeof(value)) std::memcpy(&to[i], &value, sizeof(value));
}

stage::StepBatch EmptyStep(int64_t sequences, int64_t positions) {
  stage::StepBatch batch;
  batch.max_blocks = (positions + kernels::kBlockTokens - 1) / kernels::kBlockTokens;
  for (int64_t i = 0; i < sequences * batch.max_blocks; ++i) {
    batch.block_tables.push_back(static_cast<int32_t>(i));
  }
  for (int64_t i = 0; i < sequences; ++i) {
    batch.sequence_ids.push_back(static_cast<uint64_t>(i) + 1);
  }
  return batch;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RealStage>> RealStage::Create(const Options& options,
                                                             kernels::Backend* backend) {
  std::unique_ptr<RealStage> stage(new RealStage());
  stage->options_ = options;
  stage->stage_ = {.layer_begin = options.config.num_layers - options.num_layers,
                   .layer_end = options.config.num_layers,
                   .has_head = true};
  ASSIGN_OR_RETURN(stage->team_, backend->CreateTeam(1, 1));
  kernels::Ops* ops = stage->team_.devices[0].ops.get();
  ASSIGN_OR_RETURN(stage->store_,
                   stage::WeightStore::Create(
                       {options.config, stage->stage_, kRanks, 0, 1, DataType::kBFloat16}, ops));
  RETURN_IF_ERROR(stage->Load());
  const stage::WorkspaceShape shape = {.config = options.config,
                                       .stage = stage->stage_,
                                       .num_ranks = kRanks,
                                       .compute_type = DataType::kBFloat16,
                                       .max_step_tokens = options.max_rows,
                                       .max_step_sequences = options.max_sequences,
                                       .max_model_len = options.max_model_len,
                                       .copies_slices = !ops->shares_host_memory()};
  ASSIGN_OR_RETURN(stage->workspace_, stage::CreateWorkspace(shape, ops));
  ASSIGN_OR_RETURN(stage->cache_,
                   stage::KvCache::Create(
                       stage::KvShapeOf(options.config, options.num_layers, DataType::kBFloat16),
                       options.num_blocks, ops));
  stage->UseDevice(stage->team_.devices[0]);
  return stage;
}

void RealStage::UseDevice(kernels::Team::Device& device) {
  lone_ = std::make_unique<LoneRank>(device.collectives.get());
  context_ = {.config = &options_.config,
              .ops = device.ops.get(),
              .collectives = lone_.get(),
              .workspace = workspace_.get(),
              .num_ranks = kRanks,
              .runs_graphs = device.ops->keeps_graphs()};
  model_ = std::make_unique<stage::StageModel>(context_, stage_, &store_->weights());
  model_->UseCache(cache_.get());
}

size_t RealStage::MakeGraphs() {
  model_->RunGraphShapes();
  const stage::StageModel::MadeGraphs made = model_->MakeGraphs();
  BATON_CHECK_OK(made.refusal);
  model_->UseGraphs(made.count);
  model_->RunGraphShapes();
  return made.count;
}

uint64_t RealStage::workspace_bytes() const {
  return workspace_->bytes + team_.devices[0].ops->working_bytes() + lone_->working_bytes();
}

absl::Status RealStage::Load() {
  const Clock::time_point begin = Clock::now();
  const Pattern float8(DataType::kFloat8E4M3);
  const Pattern bfloat16(DataType::kBFloat16);
  const Pattern float32(DataType::kFloat32);
  for (size_t i = 0; i < store_->slices().size(); ++i) {
    const stage::NeededSlice& slice = store_->slices()[i];
    ASSIGN_OR_RETURN(const std::span<std::byte> bytes, store_->Destination(i));
    const auto seed = static_cast<uint32_t>(i);
    if (slice.spec.scaled_rows > 0) {
      FillFloats(bytes, 0.02f);
    } else if (slice.spec.type == DataType::kFloat8E4M3) {
      float8.Fill(bytes, seed);
    } else if (slice.spec.type == DataType::kFloat32) {
      float32.Fill(bytes, seed);
    } else if (slice.spec.num_dimensions == 1) {  // gains of norms
      for (size_t at = 0; at < bytes.size(); at += sizeof(BFloat16)) {
        const BFloat16 one = ToBFloat16(1.0f);
        std::memcpy(&bytes[at], &one, sizeof(one));
      }
    } else {
      bfloat16.Fill(bytes, seed);
    }
    RETURN_IF_ERROR(store_->MarkComplete(i));
  }
  team_.devices[0].ops->Synchronize();
  load_seconds_ = std::chrono::duration<double>(Clock::now() - begin).count();
  return store_->Finish();
}

stage::StepBatch RealStage::DecodeStep(int64_t rows, int64_t position) {
  stage::StepBatch batch = EmptyStep(rows, position + 1);
  for (int64_t row = 0; row < rows; ++row) {
    batch.token_ids.push_back(0);
    batch.positions.push_back(static_cast<int32_t>(position));
    batch.sequence_rows.push_back(static_cast<int32_t>(row));
  }
  return batch;
}

stage::StepBatch RealStage::PrefillStep(int64_t rows, int64_t position) {
  stage::StepBatch batch = EmptyStep(1, position + rows);
  for (int64_t row = 0; row < rows; ++row) {
    batch.token_ids.push_back(0);
    batch.positions.push_back(static_cast<int32_t>(position + row));
    batch.sequence_rows.push_back(0);
  }
  return batch;
}

double RealStage::RunLayers(const stage::StepBatch& batch, const std::vector<uint32_t>& seeds) {
  const int64_t width = options_.config.hidden_size / kRanks;
  std::vector<BFloat16> states;
  states.reserve(static_cast<size_t>(batch.num_tokens() * width));
  for (int64_t row = 0; row < batch.num_tokens(); ++row) {
    uint32_t state = Mix(seeds[static_cast<size_t>(row)] + 1);
    for (int64_t i = 0; i < width; ++i) {
      state = Mix(state);
      states.push_back(ToBFloat16(static_cast<float>(state >> 8) / 8388608.0f - 1.0f));
    }
  }
  const TensorView slice = {states.data(), DataType::kBFloat16, batch.num_tokens(), width, width};
  context_.ops->Synchronize();
  const Clock::time_point begin = Clock::now();
  model_->LoadStep(batch);
  model_->AssembleStream({&slice, 1});
  model_->RunLayers();
  context_.ops->Synchronize();
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

std::vector<uint16_t> RealStage::StreamRow(int64_t row) const {
  std::vector<uint16_t> bits(static_cast<size_t>(options_.config.hidden_size));
  context_.ops->CopyToHost(bits.data(), workspace_->residual.Rows(row, 1).data,
                           bits.size() * sizeof(uint16_t));
  return bits;
}

int64_t RealStage::NumHitExperts(int64_t rows) const {
  std::vector<int32_t> experts(static_cast<size_t>(rows * options_.config.experts_per_token));
  context_.ops->CopyToHost(experts.data(), workspace_->experts.data(),
                           experts.size() * sizeof(int32_t));
  std::set<int32_t> hit(experts.begin(), experts.end());
  hit.erase(-1);
  return static_cast<int64_t>(hit.size());
}

bool RealStage::DrawsFiniteTokens(const stage::StepBatch& batch) {
  stage::StepBatch drawn = batch;
  const auto sampling = std::make_shared<stage::SamplingSettings>();
  const int64_t rows = std::min(batch.num_tokens(), stage::kMaxLogitRows);
  for (int64_t row = 0; row < rows; ++row) {
    stage::DrawRow draw;
    draw.row = static_cast<int32_t>(row);
    draw.sequence_id = static_cast<uint64_t>(row) + 1;
    draw.position = 1;
    draw.sampling = sampling;
    drawn.draws.push_back(draw);
  }
  const stage::StepOutput output = model_->ComputeOutput(drawn);
  return output.failures.empty() && output.tokens.size() == static_cast<size_t>(rows);
}

}  // namespace baton::bench
