#include "tests/bench/timed_ops.h"

#include <ctime>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"

namespace baton::bench {
namespace {

using kernels::FeedForwardWeights;
using kernels::Ops;
using kernels::PackedWeight;

double Elements(const PackedWeight& weight) {
  return static_cast<double>(weight.n()) * static_cast<double>(weight.k());
}

double ProcessorSeconds() {
  timespec time = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

class TimedOps final : public Ops {
 public:
  TimedOps(std::unique_ptr<Ops> ops, OpTimes* times) : ops_(std::move(ops)), times_(*times) {}

  absl::StatusOr<std::unique_ptr<kernels::DeviceBuffer>> Allocate(size_t bytes) override {
    return ops_->Allocate(bytes);
  }
  void CopyToDevice(void* device, const void* host, size_t bytes) override {
    ops_->CopyToDevice(device, host, bytes);
  }
  void CopyToHost(void* host, const void* device, size_t bytes) override {
    ops_->CopyToHost(host, device, bytes);
  }
  std::unique_ptr<PackedWeight> Pack(const kernels::WeightMatrix& weight,
                                     DataType compute_type) override {
    return ops_->Pack(weight, compute_type);
  }
  int64_t band_rows() const override { return ops_->band_rows(); }
  void PackBand(const kernels::WeightBand& band, DataType compute_type,
                std::unique_ptr<PackedWeight>& weight) override {
    ops_->PackBand(band, compute_type, weight);
  }
  std::string packing() const override { return ops_->packing(); }
  kernels::WeightImage Export(const PackedWeight& weight) const override {
    return ops_->Export(weight);
  }
  absl::StatusOr<std::unique_ptr<PackedWeight>> Adopt(
      const kernels::WeightImage& image, std::shared_ptr<const void> owner) const override {
    return ops_->Adopt(image, std::move(owner));
  }
  void Linear(const kernels::LinearArgs& args) override {
    const PackedWeight& weight = *args.weight;
    Time(absl::StrCat("linear ", weight.n(), " x ", weight.k()),
         static_cast<double>(weight.bytes()), 2.0 * args.x.rows * Elements(weight),
         [&] { ops_->Linear(args); });
  }
  void HeadwiseLinear(const kernels::HeadwiseLinearArgs& args) override {
    double bytes = 0;
    double flops = 0;
    for (const PackedWeight* weight : args.weights) {
      bytes += static_cast<double>(weight->bytes());
      flops += 2.0 * args.x.rows * Elements(*weight);
    }
    Time(absl::StrCat("headwise ", args.weights[0]->n(), " x ", args.weights[0]->k()), bytes, flops,
         [&] { ops_->HeadwiseLinear(args); });
  }
  void RmsNorm(const kernels::RmsNormArgs& args) override {
    Time("norm", 0, 0, [&] { ops_->RmsNorm(args); });
  }
  void AddRmsNorm(const kernels::AddRmsNormArgs& args) override {
    Time("add + norm", 0, 0, [&] { ops_->AddRmsNorm(args); });
  }
  void Add(const kernels::AddArgs& args) override {
    Time("add", 0, 0, [&] { ops_->Add(args); });
  }
  void Embed(const kernels::EmbedArgs& args) override {
    Time("embed", 0, 0, [&] { ops_->Embed(args); });
  }
  void Rope(const kernels::RopeArgs& args) override {
    Time("rope", 0, 0, [&] { ops_->Rope(args); });
  }
  void KvWrite(const kernels::KvWriteArgs& args) override {
    Time("kv write", 0, 0, [&] { ops_->KvWrite(args); });
  }
  void MlaAttention(const kernels::MlaAttentionArgs& args) override {
    double flops = 0;
    for (const int32_t position : args.layout.positions) {
      flops +=
          2.0 * (position + 1) * args.heads * (2 * args.cache.latent_dims + args.cache.rope_dims);
    }
    Time("attention", 0, flops, [&] { ops_->MlaAttention(args); });
  }
  void MlaPromptAttention(const kernels::MlaPromptAttentionArgs& args) override {
    const double nope_dims = static_cast<double>(args.key_weights.front()->n());
    const double value_dims = static_cast<double>(args.value_weights.front()->n());
    const double heads = static_cast<double>(args.key_weights.size());
    const double per_key = nope_dims + static_cast<double>(args.cache.rope_dims) + value_dims;
    const double latent_dims = static_cast<double>(args.cache.latent_dims);
    const kernels::StepLayout& layout = args.layout;
    double flops = 0;
    for (size_t row = 0; row < layout.positions.size(); ++row) {
      const double length = layout.positions[row] + 1;
      flops += 2.0 * length * heads * per_key;
      const bool last = row + 1 == layout.positions.size() ||
                        layout.sequence_rows[row + 1] != layout.sequence_rows[row];
      if (last) flops += 2.0 * length * heads * latent_dims * (nope_dims + value_dims);
    }
    Time("prompt attention", 0, flops, [&] { ops_->MlaPromptAttention(args); });
  }
  void SelectExperts(const kernels::SelectExpertsArgs& args) override {
    Time("select experts", 0, 0, [&] { ops_->SelectExperts(args); });
  }
  void FeedForward(const kernels::FeedForwardArgs& args) override {
    Time("dense feed-forward", BytesOf(args.weights), args.x.rows * FlopsOf(args.weights),
         [&] { ops_->FeedForward(args); });
  }
  void Experts(const kernels::ExpertsArgs& args) override {
    double bytes = args.shared.gate == nullptr ? 0 : BytesOf(args.shared);
    double flops = args.shared.gate == nullptr ? 0 : args.x.rows * FlopsOf(args.shared);
    for (const int32_t expert : std::set<int32_t>(args.experts.begin(), args.experts.end())) {
      if (expert >= 0) bytes += BytesOf(args.expert_weights[expert]);
    }
    for (const int32_t expert : args.experts) {
      if (expert >= 0) flops += FlopsOf(args.expert_weights[expert]);
    }
    Time("experts", bytes, flops, [&] { ops_->Experts(args); });
  }
  void Sample(const kernels::SampleArgs& args) override {
    Time("sample", 0, 0, [&] { ops_->Sample(args); });
  }
  void ScoreTokens(const kernels::ScoreTokensArgs& args) override {
    Time("score tokens", 0, 0, [&] { ops_->ScoreTokens(args); });
  }
  void Synchronize() override { ops_->Synchronize(); }
  bool shares_host_memory() const override { return ops_->shares_host_memory(); }
  kernels::DeviceMemory memory() const override { return ops_->memory(); }
  uint64_t working_bytes() const override { return ops_->working_bytes(); }
  void MakeRoom(absl::FunctionRef<void()> work) override { ops_->MakeRoom(work); }
  // None: a graph's operations cannot be timed one by one.
  bool keeps_graphs() const override { return false; }
  absl::Status MakeGraph(uint64_t, absl::FunctionRef<void()>) override { return absl::OkStatus(); }
  void RunGraph(uint64_t, absl::FunctionRef<void()> work) override { work(); }
  void ForgetGraphs() override {}

 private:
  static double BytesOf(const FeedForwardWeights& weights) {
    return static_cast<double>(weights.gate->bytes() + weights.up->bytes() + weights.down->bytes());
  }
  static double FlopsOf(const FeedForwardWeights& weights) {
    return 2 * (Elements(*weights.gate) + Elements(*weights.up) + Elements(*weights.down));
  }

  template <typename Call>
  void Time(const std::string& name, double bytes, double flops, const Call& call) {
    const double processor_start = ProcessorSeconds();
    const auto start = std::chrono::steady_clock::now();
    call();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    OpTime& time = times_[name];
    time.seconds += taken.count();
    time.processor_seconds += ProcessorSeconds() - processor_start;
    ++time.calls;
    time.bytes += bytes;
    time.flops += flops;
  }

  const std::unique_ptr<Ops> ops_;
  OpTimes& times_;
};

class TimedBackend final : public kernels::Backend {
 public:
  TimedBackend(kernels::Backend* backend, OpTimes* times) : backend_(backend), times_(times) {}

  bool expands_prompts() const override { return backend_->expands_prompts(); }
  absl::StatusOr<kernels::Team> CreateTeam(int num_ranks, int num_devices) override {
    absl::StatusOr<kernels::Team> team = backend_->CreateTeam(num_ranks, num_devices);
    if (!team.ok()) return team;
    for (kernels::Team::Device& device : team->devices) {
      device.ops = std::make_unique<TimedOps>(std::move(device.ops), times_);
    }
    return team;
  }

  kernels::DeviceMemory memory() const override { return backend_->memory(); }

 private:
  kernels::Backend* const backend_;
  OpTimes* const times_;
};

}  // namespace

std::unique_ptr<kernels::Backend> TimeOps(kernels::Backend* backend, OpTimes* times) {
  return std::make_unique<TimedBackend>(backend, times);
}

}  // namespace baton::bench
