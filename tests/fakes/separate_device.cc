#include "tests/fakes/separate_device.h"

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "common/log/check.h"
#include "tests/fakes/separate_memory.h"

namespace baton::fakes {
namespace {

using kernels::DeviceBuffer;
using kernels::Ops;

// What a device's operations and collectives were called with, while a graph is made.
class GraphTape {
 public:
  explicit GraphTape(std::optional<int> most_graphs) : most_graphs_(most_graphs) {}

  void Call(std::function<void()> call) {
    if (recording_ == nullptr) return call();
    recording_->push_back(std::move(call));
  }
  void Refuse(const char* what) const {
    BATON_CHECK(recording_ == nullptr) << what << " is not for graphs";
  }
  absl::Status Make(uint64_t key, absl::FunctionRef<void()> work, GraphCounts& counts) {
    BATON_CHECK(!graphs_.contains(key)) << "a graph of this key is there";
    if (most_graphs_.has_value() && static_cast<int>(graphs_.size()) >= *most_graphs_) {
      return absl::ResourceExhaustedError(absl::StrCat("room for ", *most_graphs_, " graphs"));
    }
    std::vector<std::function<void()>> calls;
    recording_ = &calls;
    work();
    recording_ = nullptr;
    graphs_[key] = std::move(calls);
    ++counts.made;
    return absl::OkStatus();
  }
  // False if there is no such graph.
  bool Run(uint64_t key, GraphCounts& counts) {
    const auto found = graphs_.find(key);
    if (found == graphs_.end()) return false;
    for (const std::function<void()>& call : found->second) call();
    ++counts.run;
    return true;
  }
  void Forget() { graphs_.clear(); }
  bool HoldsGraphs() const { return !graphs_.empty(); }

 private:
  const std::optional<int> most_graphs_;
  std::vector<std::function<void()>>* recording_ = nullptr;
  std::map<uint64_t, std::vector<std::function<void()>>> graphs_;
};

class SeparateOps final : public Ops {
 public:
  SeparateOps(std::unique_ptr<Ops> inner, std::shared_ptr<OwnMemory> memory,
              std::shared_ptr<GraphTape> tape, GraphCounts* counts)
      : inner_(std::move(inner)),
        memory_(std::move(memory)),
        tape_(std::move(tape)),
        counts_(counts) {}

  ~SeparateOps() override { memory_->KeepGone(false); }

  absl::StatusOr<std::unique_ptr<DeviceBuffer>> Allocate(size_t bytes) override {
    absl::StatusOr<std::unique_ptr<DeviceBuffer>> buffer = inner_->Allocate(bytes);
    if (!buffer.ok()) return buffer;
    if (absl::Status added = memory_->Add((*buffer)->data(), bytes); !added.ok()) return added;
    return std::make_unique<OwnBuffer>(*std::move(buffer), memory_);
  }
  void CopyToDevice(void* device, const void* host, size_t bytes) override {
    CheckCopy(device, host, bytes);
    inner_->CopyToDevice(device, host, bytes);
  }
  void CopyToHost(void* host, const void* device, size_t bytes) override {
    CheckCopy(device, host, bytes);
    inner_->CopyToHost(host, device, bytes);
  }
  std::unique_ptr<kernels::PackedWeight> Pack(const kernels::WeightMatrix& weight,
                                              DataType compute_type) override {
    return inner_->Pack(weight, compute_type);
  }
  int64_t band_rows() const override { return 0; }
  void PackBand(const kernels::WeightBand&, DataType,
                std::unique_ptr<kernels::PackedWeight>&) override {
    BATON_CHECK(false) << "weights are packed whole";
  }
  std::string packing() const override { return ""; }
  kernels::WeightImage Export(const kernels::PackedWeight&) const override {
    BATON_CHECK(false) << "weights stay on the device";
    return {};
  }
  absl::StatusOr<std::unique_ptr<kernels::PackedWeight>> Adopt(
      const kernels::WeightImage&, std::shared_ptr<const void>) const override {
    BATON_CHECK(false) << "weights stay on the device";
    return absl::InternalError("");
  }
  void Linear(const kernels::LinearArgs& args) override {
    tape_->Call([this, args] {
      Check(args.x, args.out);
      inner_->Linear(args);
    });
  }
  void HeadwiseLinear(const kernels::HeadwiseLinearArgs& args) override {
    tape_->Call([this, args] {
      Check(args.x, args.out);
      inner_->HeadwiseLinear(args);
    });
  }
  void RmsNorm(const kernels::RmsNormArgs& args) override {
    tape_->Call([this, args] {
      Check(args.x, args.weight, args.out);
      inner_->RmsNorm(args);
    });
  }
  void AddRmsNorm(const kernels::AddRmsNormArgs& args) override {
    tape_->Call([this, args] {
      Check(args.residual, args.delta, args.weight, args.out);
      inner_->AddRmsNorm(args);
    });
  }
  void Add(const kernels::AddArgs& args) override {
    tape_->Call([this, args] {
      Check(args.residual, args.delta, args.out);
      inner_->Add(args);
    });
  }
  void Embed(const kernels::EmbedArgs& args) override {
    tape_->Call([this, args] {
      Check(args.token_ids, args.table, args.out);
      inner_->Embed(args);
    });
  }
  void Rope(const kernels::RopeArgs& args) override {
    tape_->Call([this, args] {
      Check(args.x, args.positions, args.table);
      inner_->Rope(args);
    });
  }
  void KvWrite(const kernels::KvWriteArgs& args) override {
    tape_->Call([this, args] {
      Check(args.latent, args.rope_key, args.layout, args.cache.pages, args.rotary_table);
      inner_->KvWrite(args);
    });
  }
  void MlaAttention(const kernels::MlaAttentionArgs& args) override {
    tape_->Call([this, args] {
      Check(args.q_latent, args.q_rope, args.layout, args.cache.pages, args.out);
      inner_->MlaAttention(args);
    });
  }
  void MlaPromptAttention(const kernels::MlaPromptAttentionArgs& args) override {
    tape_->Call([this, args] {
      Check(args.q, args.layout, args.cache.pages, args.out);
      inner_->MlaPromptAttention(args);
    });
  }
  void SelectExperts(const kernels::SelectExpertsArgs& args) override {
    tape_->Call([this, args] {
      Check(args.logits, args.bias, args.sequence_rows, args.experts, args.weights);
      inner_->SelectExperts(args);
    });
  }
  void FeedForward(const kernels::FeedForwardArgs& args) override {
    tape_->Call([this, args] {
      Check(args.x, args.out);
      inner_->FeedForward(args);
    });
  }
  void Experts(const kernels::ExpertsArgs& args) override {
    tape_->Call([this, args] {
      Check(args.x, args.experts, args.slot_weights, args.out);
      inner_->Experts(args);
    });
  }
  void Sample(const kernels::SampleArgs& args) override {
    Check(args.logits);
    tape_->Refuse("a draw");
    inner_->Sample(args);
  }
  void ScoreTokens(const kernels::ScoreTokensArgs& args) override {
    Check(args.logits);
    tape_->Refuse("a draw");
    inner_->ScoreTokens(args);
  }
  void Synchronize() override {
    tape_->Refuse("Synchronize");
    inner_->Synchronize();
  }
  bool shares_host_memory() const override { return false; }
  kernels::DeviceMemory memory() const override { return memory_->Read(); }
  uint64_t working_bytes() const override { return inner_->working_bytes(); }
  void MakeRoom(absl::FunctionRef<void()> work) override { work(); }
  bool keeps_graphs() const override { return counts_ != nullptr; }
  absl::Status MakeGraph(uint64_t key, absl::FunctionRef<void()> work) override {
    if (!keeps_graphs()) return absl::OkStatus();
    memory_->KeepGone(true);
    return tape_->Make(key, work, *counts_);
  }
  void RunGraph(uint64_t key, absl::FunctionRef<void()> work) override {
    if (!keeps_graphs() || !tape_->Run(key, *counts_)) work();
  }
  void ForgetGraphs() override {
    tape_->Forget();
    memory_->KeepGone(false);
  }

 private:
  template <typename... Values>
  void Check(const Values&... values) const {
    (CheckOwn(*memory_, values), ...);
  }
  void CheckCopy(const void* device, const void* host, size_t bytes) const {
    tape_->Refuse("a copy");
    if (bytes == 0) return;
    BATON_CHECK(memory_->Holds(device, bytes))
        << "a copy to or from memory that is not the device's";
    BATON_CHECK(!memory_->Holds(host, 1)) << "a copy within the device";
  }

  const std::unique_ptr<Ops> inner_;
  const std::shared_ptr<OwnMemory> memory_;
  const std::shared_ptr<GraphTape> tape_;
  GraphCounts* const counts_;
};

class SeparateCollectives final : public kernels::Collectives {
 public:
  SeparateCollectives(std::unique_ptr<kernels::Collectives> inner,
                      std::shared_ptr<OwnMemory> memory, std::shared_ptr<GraphTape> tape)
      : inner_(std::move(inner)), memory_(std::move(memory)), tape_(std::move(tape)) {}
  ~SeparateCollectives() override {
    BATON_CHECK(!tape_->HoldsGraphs()) << "collectives go before the graphs that call them";
  }

  void AllReduceSum(std::span<const TensorView> local_partials, TensorView out) override {
    std::vector<TensorView> parts(local_partials.begin(), local_partials.end());
    tape_->Call([this, parts = std::move(parts), out] {
      Check(parts, out);
      inner_->AllReduceSum(parts, out);
    });
  }
  void AllGatherColumns(std::span<const TensorView> local_shards, TensorView out) override {
    std::vector<TensorView> parts(local_shards.begin(), local_shards.end());
    tape_->Call([this, parts = std::move(parts), out] {
      Check(parts, out);
      inner_->AllGatherColumns(parts, out);
    });
  }
  uint64_t working_bytes() const override { return inner_->working_bytes(); }

 private:
  void Check(std::span<const TensorView> parts, const TensorView& out) const {
    for (const TensorView& part : parts) CheckOwn(*memory_, part);
    CheckOwn(*memory_, out);
  }

  const std::unique_ptr<kernels::Collectives> inner_;
  const std::shared_ptr<OwnMemory> memory_;
  const std::shared_ptr<GraphTape> tape_;
};

class SeparateBackend final : public kernels::Backend {
 public:
  SeparateBackend(kernels::Backend* inner, const SeparateDeviceOptions& options)
      : inner_(inner), options_(options) {}

  bool expands_prompts() const override { return false; }
  absl::StatusOr<kernels::Team> CreateTeam(int num_ranks, int num_devices) override {
    absl::StatusOr<kernels::Team> team = inner_->CreateTeam(num_ranks, num_devices);
    if (!team.ok()) return team;
    for (size_t i = 0; i < team->devices.size(); ++i) {
      kernels::Team::Device& device = team->devices[i];
      const auto memory = std::make_shared<OwnMemory>(options_);
      std::optional<int> most_graphs;
      if (i < options_.most_graphs.size()) most_graphs = options_.most_graphs[i];
      const auto tape = std::make_shared<GraphTape>(most_graphs);
      device.ops =
          std::make_unique<SeparateOps>(std::move(device.ops), memory, tape, options_.graphs);
      device.collectives =
          std::make_unique<SeparateCollectives>(std::move(device.collectives), memory, tape);
    }
    return team;
  }
  kernels::DeviceMemory memory() const override {
    return {options_.total_bytes, options_.total_bytes - options_.others_bytes};
  }

 private:
  kernels::Backend* const inner_;
  const SeparateDeviceOptions options_;
};

}  // namespace

std::unique_ptr<kernels::Backend> SeparateDevices(kernels::Backend* inner,
                                                  const SeparateDeviceOptions& options) {
  return std::make_unique<SeparateBackend>(inner, options);
}

}  // namespace baton::fakes
