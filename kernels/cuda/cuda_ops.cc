#include "kernels/cuda/cuda_ops.h"

#include <atomic>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "common/log/check.h"
#include "common/log/log.h"
#include "common/status/status_macros.h"
#include "common/tensor/aligned_buffer.h"
#include "kernels/cuda/bf16_linear.h"
#include "kernels/cuda/cuda_weight.h"
#include "kernels/cuda/float8_experts.h"
#include "kernels/cuda/float8_linear.h"
#include "kernels/cuda/latent_attention.h"
#include "kernels/cuda/launches/cuda_stream.h"
#include "kernels/cuda/launches/embedding.h"
#include "kernels/cuda/launches/norm.h"
#include "kernels/cuda/launches/rope.h"
#include "kernels/cuda/launches/router.h"
#include "kernels/cuda/plain/attention.h"
#include "kernels/cuda/plain/experts.h"
#include "kernels/cuda/plain/linear.h"
#include "kernels/cuda/token_draws.h"

namespace baton::kernels::cuda {
namespace {

GatedImage ImagesOf(const FeedForwardWeights& weights) {
  return {Unpack(weights.gate).image(), Unpack(weights.up).image(), Unpack(weights.down).image()};
}

}  // namespace

CudaOps::CudaOps(int device, const DeviceTraits& traits, const CudaOptions& options,
                 std::unique_ptr<DeviceStream> stream)
    : own_stream_(std::move(stream)),
      device_(device),
      num_multiprocessors_(traits.num_multiprocessors),
      plain_(options.plain_kernels || !traits.is_hopper),
      keeps_graphs_(options.keeps_graphs),
      stream_(own_stream_->get()),
      weights_(stream_),
      scratch_(stream_),
      graphs_(stream_) {}

absl::StatusOr<std::unique_ptr<CudaOps>> CudaOps::Create(int device, const CudaOptions& options,
                                                         const CublasLibrary* cublas) {
  absl::StatusOr<DeviceTraits> traits = ProbeDevice(device);
  if (!traits.ok()) return traits.status();
  RETURN_IF_ERROR(PreparePool(device));
  absl::StatusOr<std::unique_ptr<DeviceStream>> stream = DeviceStream::Create();
  if (!stream.ok()) {
    return Annotate(stream.status(), absl::StrCat("CUDA device ", device));
  }
  std::unique_ptr<CudaOps> ops(new CudaOps(device, *traits, options, *std::move(stream)));
  ASSIGN_OR_RETURN(ops->ring_, PinnedRing::Create(ops->stream_));
  if (cublas == nullptr || ops->plain_) return ops;
  absl::StatusOr<std::unique_ptr<CublasProducts>> products = CublasProducts::Create(*cublas);
  if (products.ok()) {
    ops->cublas_ = std::make_unique<CublasLinear>(*std::move(products));
  } else {
    BATON_LOG(WARNING) << "products take Baton's own kernels: CUDA device " << device << ": "
                       << products.status().message();
  }
  return ops;
}

CudaOps::~CudaOps() {
  cudaSetDevice(device_);
  graphs_.Forget();
}

void CudaOps::UseDevice() const { CheckCuda(cudaSetDevice(device_), "choosing the device"); }

absl::StatusOr<std::unique_ptr<DeviceBuffer>> CudaOps::Allocate(size_t bytes) {
  UseDevice();
  return CudaBuffer::Create(bytes, stream_);
}

void CudaOps::CopyToDevice(void* device, const void* host, size_t bytes) {
  UseDevice();
  ring_->CopyToDevice(device, host, bytes);
}

void CudaOps::CopyToHost(void* host, const void* device, size_t bytes) {
  UseDevice();
  ring_->CopyToHost(host, device, bytes);
}

std::unique_ptr<PackedWeight> CudaOps::Pack(const WeightMatrix& weight, DataType compute_type) {
  static std::atomic<uint64_t> num_weights{0};
  UseDevice();
  const WeightLayout layout = LayOutWeight(weight, compute_type);
  AlignedBuffer packed(layout.bytes);
  PackWeight(weight, layout, packed.span());
  absl::StatusOr<DeviceArena::Piece> memory = weights_.Take(layout.bytes);
  BATON_CHECK_OK(memory.status());
  ring_->CopyToDevice(memory->data(), packed.data(), layout.bytes);
  return std::make_unique<CudaWeight>(layout, *std::move(memory), ++num_weights);
}

void CudaOps::PackBand(const WeightBand&, DataType, std::unique_ptr<PackedWeight>&) {
  BATON_CHECK(false) << "weights are packed whole";
}

kernels::WeightImage CudaOps::Export(const PackedWeight&) const {
  BATON_CHECK(false) << "weights stay on the device";
  return {};
}

absl::StatusOr<std::unique_ptr<PackedWeight>> CudaOps::Adopt(const kernels::WeightImage&,
                                                             std::shared_ptr<const void>) const {
  BATON_CHECK(false) << "weights stay on the device";
  return absl::InternalError("");
}

void CudaOps::Linear(const LinearArgs& args) {
  UseDevice();
  const CudaWeight& weight = Unpack(args.weight);
  BATON_CHECK(args.x.columns == weight.k() && args.out.rows == args.x.rows);
  int64_t done = 0;  // rows
  if (cublas_ != nullptr) done = cublas_->Run(args.x, weight, args.out, scratch_, stream_);
  if (done > 0 && done == args.x.rows) return;
  const TensorView x = args.x.Rows(done, args.x.rows - done);
  const TensorView out = args.out.Rows(done, args.x.rows - done);
  if (!plain_ && TakesFloat8Linear(x, weight, out)) {
    LaunchFloat8Linear(x, weight, out, scratch_, stream_);
    return;
  }
  if (!plain_ && TakesBf16Linear(x, 0, {&args.weight, 1})) {
    LaunchBf16Linear(x, 0, {&args.weight, 1}, out, tables_, *ring_, stream_);
    return;
  }
  const WeightImage image = weight.image();
  LaunchPlainLinear(x, 0, {&image, 1}, out, stream_);
}

void CudaOps::HeadwiseLinear(const HeadwiseLinearArgs& args) {
  UseDevice();
  BATON_CHECK(!args.weights.empty());
  const int64_t stride = args.x_head_stride == 0 ? args.weights.front()->k() : args.x_head_stride;
  if (!plain_ && TakesBf16Linear(args.x, stride, args.weights)) {
    LaunchBf16Linear(args.x, stride, args.weights, args.out, tables_, *ring_, stream_);
    return;
  }
  std::vector<WeightImage> images;
  images.reserve(args.weights.size());
  for (const PackedWeight* weight : args.weights) images.push_back(Unpack(weight).image());
  LaunchPlainLinear(args.x, stride, images, args.out, stream_);
}

void CudaOps::RmsNorm(const RmsNormArgs& args) {
  UseDevice();
  LaunchRmsNorm(args, stream_);
}

void CudaOps::AddRmsNorm(const AddRmsNormArgs& args) {
  UseDevice();
  LaunchAddRmsNorm(args, stream_);
}

void CudaOps::Add(const AddArgs& args) {
  UseDevice();
  LaunchAdd(args, stream_);
}

void CudaOps::Embed(const EmbedArgs& args) {
  UseDevice();
  LaunchEmbed(args, stream_);
}

void CudaOps::Rope(const RopeArgs& args) {
  UseDevice();
  LaunchRope(args, stream_);
}

void CudaOps::KvWrite(const KvWriteArgs& args) {
  UseDevice();
  LaunchKvWrite(args, stream_);
}

void CudaOps::MlaAttention(const MlaAttentionArgs& args) {
  UseDevice();
  if (!plain_ && TakesLatentAttention(args)) {
    LaunchLatentAttention(args, num_multiprocessors_, scratch_, stream_);
  } else {
    LaunchPlainAttention(args, stream_);
  }
}

void CudaOps::MlaPromptAttention(const MlaPromptAttentionArgs&) {
  BATON_CHECK(false) << "CudaBackend::expands_prompts() is false";
}

void CudaOps::SelectExperts(const SelectExpertsArgs& args) {
  UseDevice();
  LaunchSelectExperts(args, stream_);
}

void CudaOps::FeedForward(const FeedForwardArgs& args) {
  UseDevice();
  ExpertsArgs every_token;
  every_token.x = args.x;
  every_token.shared = args.weights;
  every_token.out = args.out;
  if (!plain_ && TakesFloat8Experts(every_token)) {
    LaunchFloat8Experts(every_token, tables_, *ring_, scratch_, stream_);
    return;
  }
  LaunchPlainFeedForward(args.x, ImagesOf(args.weights), args.out, scratch_, stream_);
}

void CudaOps::Experts(const ExpertsArgs& args) {
  UseDevice();
  BATON_CHECK(!args.expert_weights.empty());
  if (!plain_ && TakesFloat8Experts(args)) {
    LaunchFloat8Experts(args, tables_, *ring_, scratch_, stream_);
    return;
  }
  PlainExpertsArgs plain;
  plain.x = args.x;
  plain.experts = args.experts;
  plain.slot_weights = args.slot_weights;
  plain.top_k = args.top_k;
  plain.table = tables_.Experts(args.expert_weights, *ring_, stream_);
  plain.first = ImagesOf(args.expert_weights.front());
  plain.num_experts = static_cast<int64_t>(args.expert_weights.size());
  if (args.shared.gate != nullptr) plain.shared = ImagesOf(args.shared);
  plain.out = args.out;
  LaunchPlainExperts(plain, scratch_, stream_);
}

void CudaOps::Sample(const SampleArgs& args) {
  UseDevice();
  DrawTokens(args, scratch_, *ring_, stream_);
}

void CudaOps::ScoreTokens(const ScoreTokensArgs& args) {
  UseDevice();
  ScoreTargets(args, scratch_, *ring_, stream_);
}

void CudaOps::Synchronize() {
  UseDevice();
  CheckCuda(cudaStreamSynchronize(stream_), "waiting for the device");
}

uint64_t CudaOps::working_bytes() const {
  return weights_.spare_bytes() + scratch_.bytes() + tables_.bytes();
}

DeviceMemory CudaOps::memory() const { return MemoryOf(device_); }

absl::Status CudaOps::MakeGraph(uint64_t key, absl::FunctionRef<void()> work) {
  if (!keeps_graphs_) return absl::OkStatus();
  UseDevice();
  scratch_.Hold();
  return Annotate(graphs_.Make(key, work), absl::StrCat("CUDA device ", device_));
}

void CudaOps::RunGraph(uint64_t key, absl::FunctionRef<void()> work) {
  UseDevice();
  if (!graphs_.Run(key)) work();
}

void CudaOps::ForgetGraphs() {
  UseDevice();
  graphs_.Forget();
  scratch_.Release();
}

}  // namespace baton::kernels::cuda
