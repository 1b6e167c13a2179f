#include "tests/contract/model_loader/loader_harness.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "common/rpc/channel.h"
#include "common/rpc/peer.h"

namespace baton::testing {
namespace {

constexpr uint32_t kChunkBytes = 64 << 10;
constexpr uint64_t kFirstTransfer = 100;

v1::DataType ToWire(DataType type) {
  switch (type) {
    case DataType::kFloat32:
      return v1::DATA_TYPE_FLOAT32;
    case DataType::kBFloat16:
      return v1::DATA_TYPE_BFLOAT16;
    case DataType::kFloat8E4M3:
      return v1::DATA_TYPE_FLOAT8_E4M3;
  }
  return v1::DATA_TYPE_UNSPECIFIED;
}

std::vector<std::string> FilesOf(const loader::CheckpointFolder& folder) {
  std::vector<std::string> files;
  for (size_t file = 0; file < folder.num_files(); ++file) {
    files.push_back(ReadFile(folder.path() + "/" + folder.name(file)));
  }
  return files;
}

}  // namespace

LoaderHarness::LoaderHarness(const HarnessOptions& options) : folder_("loader_contract") {
  tensors_ = RandomTensors(ParseModelConfig(SmallConfigJson()).value(), 11);
  WriteCheckpoint(folder_.path(), SmallConfigJson(), tensors_, 3);
  model_ = loader::OpenServedModel({folder_.path()}, {}).value();
  source_ = std::make_unique<FakeByteSource>(FilesOf(model_.checkpoint->folder()));
  loader::RangeReaderOptions reader_options;
  reader_options.num_threads = 2;
  reader_options.read_deadline = options.read_deadline;
  reader_options.max_attempts = 2;
  reader_ = loader::RangeReader::Create(reader_options, source_.get()).value();
  transport_ = Transport::Create({"model-loader", options.transports}).value();
  ServerOptions server_options;
  server_options.role = "model-loader";
  server_options.listen_address = "127.0.0.1:0";
  runtime_ = ServerRuntime::Create(server_options).value();
  metrics_ = std::make_unique<loader::LoaderMetrics>(runtime_->registry().get());
  loads_ = std::make_unique<loader::ActiveLoads>(options.max_loads);
  loader::LoadResources resources;
  resources.model = &model_;
  resources.reader = reader_.get();
  resources.transport = transport_.get();
  resources.loads = loads_.get();
  resources.metrics = metrics_.get();
  resources.options.num_threads = 2;
  resources.options.job_bytes = 4096;
  resources.options.send_deadline = options.send_deadline;
  resources.options.connect_deadline = options.connect_deadline;
  service_ = std::make_unique<loader::LoadingService>(resources);
  runtime_->AddService(service_.get());
  EXPECT_TRUE(runtime_->Start().ok());
  stub_ = v1::Loading::NewStub(CreateChannel(absl::StrCat("127.0.0.1:", runtime_->grpc_port()),
                                             "model-loader", *RpcIdentity::Plaintext()));
}

double LoaderHarness::load_fraction() const {
  for (const prometheus::MetricFamily& family : runtime_->registry()->Collect())
    if (family.name == "baton_loader_load_fraction" && !family.metric.empty())
      return family.metric.front().gauge.value;
  return -1;
}

LoaderHarness::~LoaderHarness() { Die(); }

void LoaderHarness::Die() {
  service_->Drain(absl::Now());
  source_->Release();
  runtime_.reset();
}

const WrittenTensor& LoaderHarness::tensor(const std::string& name) const {
  return *std::find_if(tensors_.begin(), tensors_.end(),
                       [&](const WrittenTensor& tensor) { return tensor.name == name; });
}

LoadingWorker::LoadingWorker(const LoaderHarness& harness, int num_ranks,
                             const std::string& transports)
    : transport_(Transport::Create({"stage-worker-0", transports}).value()),
      receiver_(ChunkReceiver::Create(transport_.get())) {
  *request_.mutable_peer() = MakePeerInfo("stage-worker");
  request_.set_model_fingerprint(harness.model().fingerprint);
  request_.set_chunk_bytes(kChunkBytes);
  for (int rank = 0; rank < num_ranks; ++rank) AddTarget(harness, rank, num_ranks);
}

void LoadingWorker::AddTarget(const LoaderHarness& harness, int rank, int num_ranks) {
  const ModelConfig& config = harness.model().config;
  v1::LoadTarget* target = request_.add_targets();
  const uint64_t transfer_id = kFirstTransfer + static_cast<uint64_t>(rank);
  target->set_ucx_address(transport_->address());
  target->set_transfer_id(transfer_id);
  targets_.push_back(std::make_unique<Target>(receiver_.get(), transfer_id));
  for (const WeightSpec& spec : StageInventory(config, {0, config.num_layers, true, true})) {
    const WeightSlice part = SliceOfRank(config, spec, rank, num_ranks);
    v1::TensorSlice* slice = target->add_slices();
    slice->set_name(spec.name);
    slice->set_data_type(ToWire(spec.type));
    if (spec.num_dimensions == 2) slice->add_shape(static_cast<uint64_t>(spec.rows));
    slice->add_shape(static_cast<uint64_t>(spec.columns));
    slice->set_row_begin(static_cast<uint64_t>(part.row_begin));
    slice->set_row_end(static_cast<uint64_t>(part.row_end));
    slice->set_column_begin(static_cast<uint64_t>(part.column_begin));
    slice->set_column_end(static_cast<uint64_t>(part.column_end));
    targets_.back()->AddSlice(static_cast<size_t>(part.num_elements()) * SizeOf(spec.type));
  }
  TransferOptions transfer;
  transfer.transfer_id = transfer_id;
  transfer.slice_bytes = targets_.back()->slice_bytes();
  transfer.max_chunk_bytes = kChunkBytes;
  transfer.sink = targets_.back().get();
  EXPECT_TRUE(receiver_->BeginTransfer(std::move(transfer)).ok());
}

std::vector<uint64_t> LoadingWorker::Target::slice_bytes() const {
  std::vector<uint64_t> bytes;
  for (const std::string& slice : slices_) bytes.push_back(slice.size());
  return bytes;
}

absl::StatusOr<std::span<std::byte>> LoadingWorker::Target::Destination(size_t slice_index) {
  std::string& slice = slices_[slice_index];
  return std::span<std::byte>(reinterpret_cast<std::byte*>(slice.data()), slice.size());
}

void LoadingWorker::Target::SliceArrived(size_t slice_index) {
  receiver_.ReleaseSlice(transfer_id_, slice_index);
}

void LoadingWorker::ExpectComplete(const LoaderHarness& harness) {
  for (int t = 0; t < request_.targets_size(); ++t) {
    const v1::LoadTarget& target = request_.targets(t);
    const absl::Status complete =
        receiver_->WaitComplete(target.transfer_id(), absl::Now() + absl::Seconds(30));
    ASSERT_TRUE(complete.ok()) << complete;
    for (int s = 0; s < target.slices_size(); ++s) {
      const v1::TensorSlice& slice = target.slices(s);
      const WrittenTensor& tensor = harness.tensor(slice.name());
      const uint64_t columns = tensor.shape.back();
      const uint64_t rows = tensor.shape.size() == 2 ? tensor.shape[0] : 1;
      const uint64_t element = tensor.data.size() / (rows * columns);
      std::string expected;
      for (uint64_t row = slice.row_begin(); row < slice.row_end(); ++row) {
        expected += tensor.data.substr((row * columns + slice.column_begin()) * element,
                                       (slice.column_end() - slice.column_begin()) * element);
      }
      ASSERT_EQ(targets_[static_cast<size_t>(t)]->slice(static_cast<size_t>(s)), expected)
          << slice.name() << " of target " << t;
    }
  }
}

void LoadingWorker::Die() {
  receiver_.reset();
  transport_.reset();
}

}  // namespace baton::testing
