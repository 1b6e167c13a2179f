#include "tests/conformance/kernels/staged_backend.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "common/log/check.h"

namespace baton::kernels {
namespace {

// The device's copies of one call's arguments.
class StagedCall {
 public:
  explicit StagedCall(Ops& ops) : ops_(ops) {}
  StagedCall(const StagedCall&) = delete;
  StagedCall& operator=(const StagedCall&) = delete;

  // Waits for the call and brings back what it may have written.
  ~StagedCall() {
    ops_.Synchronize();
    for (const auto& [host, copy] : copies_) {
      if (copy.written) ops_.CopyToHost(host, copy.buffer->data(), copy.bytes);
    }
  }

  TensorView In(const TensorView& view) { return OnDevice(view, false); }
  TensorView Out(const TensorView& view) { return OnDevice(view, true); }

  template <typename T>
  std::span<const T> In(std::span<const T> values) {
    void* host = const_cast<T*>(values.data());
    return {static_cast<const T*>(Copy(host, values.size_bytes(), false)), values.size()};
  }
  template <typename T>
  std::span<T> Out(std::span<T> values) {
    return {static_cast<T*>(Copy(values.data(), values.size_bytes(), true)), values.size()};
  }

  StepLayout In(const StepLayout& layout) {
    return {In(layout.positions), In(layout.sequence_rows), In(layout.block_tables),
            layout.max_blocks};
  }

 private:
  struct HostCopy {
    std::unique_ptr<DeviceBuffer> buffer;
    size_t bytes = 0;
    bool written = false;
  };

  TensorView OnDevice(TensorView view, bool written) {
    if (view.empty()) return view;
    const int64_t elements = (view.rows - 1) * view.row_stride + view.columns;
    view.data = Copy(view.data, static_cast<size_t>(elements) * SizeOf(view.type), written);
    return view;
  }

  void* Copy(void* host, size_t bytes, bool written) {
    if (bytes == 0) return host;
    HostCopy& copy = copies_[host];
    if (copy.bytes < bytes) {
      BATON_CHECK(copy.buffer == nullptr) << "views of one address, the longer one later";
      copy.buffer = ops_.Allocate(bytes).value();
      copy.bytes = bytes;
      ops_.CopyToDevice(copy.buffer->data(), host, bytes);
    }
    copy.written = copy.written || written;
    return copy.buffer->data();
  }

  Ops& ops_;
  std::map<void*, HostCopy> copies_;
};

class StagedOps final : public Ops {
 public:
  explicit StagedOps(std::unique_ptr<Ops> inner) : inner_(std::move(inner)) {}

  Ops& inner() { return *inner_; }

  absl::StatusOr<std::unique_ptr<DeviceBuffer>> Allocate(size_t bytes) override {
    return inner_->Allocate(bytes);
  }
  void CopyToDevice(void* device, const void* host, size_t bytes) override {
    inner_->CopyToDevice(device, host, bytes);
  }
  void CopyToHost(void* host, const void* device, size_t bytes) override {
    inner_->CopyToHost(host, device, bytes);
  }
  std::unique_ptr<PackedWeight> Pack(const WeightMatrix& weight, DataType compute_type) override {
    return inner_->Pack(weight, compute_type);
  }
  int64_t band_rows() const override { return inner_->band_rows(); }
  void PackBand(const WeightBand& band, DataType compute_type,
                std::unique_ptr<PackedWeight>& weight) override {
    inner_->PackBand(band, compute_type, weight);
  }
  std::string packing() const override { return inner_->packing(); }
  WeightImage Export(const PackedWeight& weight) const override { return inner_->Export(weight); }
  absl::StatusOr<std::unique_ptr<PackedWeight>> Adopt(
      const WeightImage& image, std::shared_ptr<const void> owner) const override {
    return inner_->Adopt(image, std::move(owner));
  }
  void Linear(const LinearArgs& args) override {
    StagedCall call(*inner_);
    inner_->Linear({call.In(args.x), args.weight, call.Out(args.out)});
  }
  void HeadwiseLinear(const HeadwiseLinearArgs& args) override {
    StagedCall call(*inner_);
    inner_->HeadwiseLinear({call.In(args.x), args.x_head_stride, args.weights, call.Out(args.out)});
  }
  void RmsNorm(const RmsNormArgs& args) override {
    StagedCall call(*inner_);
    inner_->RmsNorm({call.In(args.x), call.In(args.weight), args.epsilon, call.Out(args.out)});
  }
  void AddRmsNorm(const AddRmsNormArgs& args) override {
    StagedCall call(*inner_);
    inner_->AddRmsNorm({call.Out(args.residual), call.In(args.delta), call.In(args.weight),
                        args.epsilon, call.Out(args.out)});
  }
  void Add(const AddArgs& args) override {
    StagedCall call(*inner_);
    inner_->Add({call.In(args.residual), call.In(args.delta), call.Out(args.out)});
  }
  void Embed(const EmbedArgs& args) override {
    StagedCall call(*inner_);
    inner_->Embed(
        {call.In(args.token_ids), call.In(args.table), args.vocabulary_begin, call.Out(args.out)});
  }
  void Rope(const RopeArgs& args) override {
    StagedCall call(*inner_);
    RopeArgs staged = args;
    staged.x = call.Out(args.x);
    staged.positions = call.In(args.positions);
    staged.table = call.In(args.table);
    inner_->Rope(staged);
  }
  void KvWrite(const KvWriteArgs& args) override {
    StagedCall call(*inner_);
    KvWriteArgs staged = args;
    staged.latent = call.In(args.latent);
    staged.rope_key = call.In(args.rope_key);
    staged.layout = call.In(args.layout);
    staged.cache.pages = call.Out(args.cache.pages);
    staged.rotary_table = call.In(args.rotary_table);
    inner_->KvWrite(staged);
  }
  void MlaAttention(const MlaAttentionArgs& args) override {
    StagedCall call(*inner_);
    MlaAttentionArgs staged = args;
    staged.q_latent = call.In(args.q_latent);
    staged.q_rope = call.In(args.q_rope);
    staged.layout = call.In(args.layout);
    staged.cache.pages = call.In(args.cache.pages);
    staged.out = call.Out(args.out);
    inner_->MlaAttention(staged);
  }
  void MlaPromptAttention(const MlaPromptAttentionArgs& args) override {
    StagedCall call(*inner_);
    MlaPromptAttentionArgs staged = args;
    staged.q = call.In(args.q);
    staged.layout = call.In(args.layout);
    staged.cache.pages = call.In(args.cache.pages);
    staged.out = call.Out(args.out);
    inner_->MlaPromptAttention(staged);
  }
  void SelectExperts(const SelectExpertsArgs& args) override {
    StagedCall call(*inner_);
    inner_->SelectExperts({call.In(args.logits), call.In(args.bias), args.params,
                           call.Out(args.experts), call.Out(args.weights),
                           call.In(args.sequence_rows)});
  }
  void FeedForward(const FeedForwardArgs& args) override {
    StagedCall call(*inner_);
    inner_->FeedForward({call.In(args.x), args.weights, call.Out(args.out)});
  }
  void Experts(const ExpertsArgs& args) override {
    StagedCall call(*inner_);
    ExpertsArgs staged = args;
    staged.x = call.In(args.x);
    staged.experts = call.In(args.experts);
    staged.slot_weights = call.In(args.slot_weights);
    staged.out = call.Out(args.out);
    inner_->Experts(staged);
  }
  void Sample(const SampleArgs& args) override {
    StagedCall call(*inner_);
    inner_->Sample({call.In(args.logits), args.rows, args.results});
  }
  void ScoreTokens(const ScoreTokensArgs& args) override {
    StagedCall call(*inner_);
    inner_->ScoreTokens({call.In(args.logits), args.targets, args.num_top, args.results});
  }
  void Synchronize() override { inner_->Synchronize(); }
  bool shares_host_memory() const override { return true; }
  DeviceMemory memory() const override { return inner_->memory(); }
  uint64_t working_bytes() const override { return inner_->working_bytes(); }
  void MakeRoom(absl::FunctionRef<void()> work) override { inner_->MakeRoom(work); }
  bool keeps_graphs() const override { return false; }
  absl::Status MakeGraph(uint64_t, absl::FunctionRef<void()>) override { return absl::OkStatus(); }
  void RunGraph(uint64_t, absl::FunctionRef<void()> work) override { work(); }
  void ForgetGraphs() override { inner_->ForgetGraphs(); }

 private:
  const std::unique_ptr<Ops> inner_;
};

class StagedCollectives final : public Collectives {
 public:
  StagedCollectives(std::unique_ptr<Collectives> inner, Ops& ops)
      : inner_(std::move(inner)), ops_(ops) {}

  void AllReduceSum(std::span<const TensorView> local_partials, TensorView out) override {
    StagedCall call(ops_);
    inner_->AllReduceSum(AllIn(call, local_partials), call.Out(out));
  }
  void AllGatherColumns(std::span<const TensorView> local_shards, TensorView out) override {
    StagedCall call(ops_);
    inner_->AllGatherColumns(AllIn(call, local_shards), call.Out(out));
  }
  uint64_t working_bytes() const override { return inner_->working_bytes(); }

 private:
  static std::vector<TensorView> AllIn(StagedCall& call, std::span<const TensorView> views) {
    std::vector<TensorView> staged;
    for (const TensorView& view : views) staged.push_back(call.In(view));
    return staged;
  }

  const std::unique_ptr<Collectives> inner_;
  Ops& ops_;
};

class StagedBackend final : public Backend {
 public:
  explicit StagedBackend(std::unique_ptr<Backend> inner) : inner_(std::move(inner)) {}

  bool expands_prompts() const override { return inner_->expands_prompts(); }
  absl::StatusOr<Team> CreateTeam(int num_ranks, int num_devices) override {
    absl::StatusOr<Team> team = inner_->CreateTeam(num_ranks, num_devices);
    if (!team.ok()) return team;
    for (Team::Device& device : team->devices) {
      auto ops = std::make_unique<StagedOps>(std::move(device.ops));
      device.collectives =
          std::make_unique<StagedCollectives>(std::move(device.collectives), ops->inner());
      device.ops = std::move(ops);
    }
    return team;
  }

  DeviceMemory memory() const override { return inner_->memory(); }

 private:
  const std::unique_ptr<Backend> inner_;
};

}  // namespace

std::unique_ptr<Backend> StageBackend(std::unique_ptr<Backend> inner) {
  return std::make_unique<StagedBackend>(std::move(inner));
}

}  // namespace baton::kernels
