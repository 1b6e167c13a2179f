#include "tests/fakes/fake_model_loader.h"

#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"

#include "common/model/model_config.h"
#include "common/rpc/peer.h"
#include "common/rpc/status_conversion.h"
#include "common/status/status_macros.h"
#include "common/transport/chunk_sender.h"

namespace baton::fakes {
namespace {

absl::Time Soon() { return absl::Now() + absl::Seconds(20); }

}  // namespace

FakeModelLoader::FakeModelLoader(std::string config_json, const MemoryCheckpoint* checkpoint)
    : config_json_(std::move(config_json)),
      checkpoint_(checkpoint),
      transport_(*Transport::Create({.name = "fake-loader"})) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
}

FakeModelLoader::~FakeModelLoader() {
  server_->Shutdown(absl::ToChronoTime(absl::Now()));
  server_->Wait();
}

std::string FakeModelLoader::address() const { return absl::StrCat("127.0.0.1:", port_); }

void FakeModelLoader::set_protocol_major(uint32_t major) {
  const absl::MutexLock lock(&mutex_);
  protocol_major_ = major;
}

void FakeModelLoader::FailNextLoad(int after_slices, const grpc::Status& status) {
  const absl::MutexLock lock(&mutex_);
  fail_after_ = after_slices;
  failure_ = status;
}

int FakeModelLoader::num_loads() const {
  const absl::MutexLock lock(&mutex_);
  return num_loads_;
}

int FakeModelLoader::num_slices_sent() const {
  const absl::MutexLock lock(&mutex_);
  return num_slices_sent_;
}

grpc::Status FakeModelLoader::GetModel(grpc::ServerContext*, const v1::GetModelRequest*,
                                       v1::GetModelResponse* response) {
  response->set_config_json(config_json_);
  response->set_model_fingerprint(ModelFingerprint(config_json_));
  *response->mutable_peer() = MakePeerInfo("model-loader");
  const absl::MutexLock lock(&mutex_);
  response->mutable_peer()->mutable_version()->set_major(protocol_major_);
  return grpc::Status::OK;
}

grpc::Status FakeModelLoader::Load(grpc::ServerContext*, const v1::LoadRequest* request,
                                   grpc::ServerWriter<v1::LoadEvent>* writer) {
  int max_slices = std::numeric_limits<int>::max();
  grpc::Status failure;
  {
    const absl::MutexLock lock(&mutex_);
    ++num_loads_;
    if (fail_after_ >= 0) max_slices = std::exchange(fail_after_, -1);
    failure = std::exchange(failure_, grpc::Status::OK);
  }
  for (const v1::LoadTarget& target : request->targets()) {
    const absl::Status sent = SendTarget(target, max_slices);
    if (!sent.ok()) return ToGrpcStatus(sent);
  }
  if (!failure.ok()) return failure;
  v1::LoadEvent event;
  event.mutable_done();
  writer->Write(event);
  return grpc::Status::OK;
}

absl::Status FakeModelLoader::SendTarget(const v1::LoadTarget& target, int max_slices) {
  ASSIGN_OR_RETURN(
      const std::unique_ptr<ChunkSender> sender,
      ChunkSender::Create(transport_.get(), target.ucx_address(), target.transfer_id(), Soon()));
  const int num_slices = std::min(max_slices, target.slices_size());
  for (int i = 0; i < num_slices; ++i) {
    absl::StatusOr<std::vector<std::byte>> bytes = BytesOf(target.slices(i));
    if (!bytes.ok()) return bytes.status();
    const auto owned = std::make_shared<std::vector<std::byte>>(*std::move(bytes));
    RETURN_IF_ERROR(sender->SendChunk(static_cast<uint32_t>(i), 0, *owned, Soon(),
                                      [owned](const absl::Status&) {}));
    const absl::MutexLock lock(&mutex_);
    ++num_slices_sent_;
  }
  return sender->Finish(Soon());
}

absl::StatusOr<std::vector<std::byte>> FakeModelLoader::BytesOf(
    const v1::TensorSlice& slice) const {
  const auto found = checkpoint_->tensors().find(slice.name());
  if (found == checkpoint_->tensors().end()) {
    return absl::NotFoundError(absl::StrCat(slice.name(), " is not in the checkpoint"));
  }
  const MemoryTensor& tensor = found->second;
  const size_t element = SizeOf(tensor.type);
  const size_t row_bytes = (slice.column_end() - slice.column_begin()) * element;
  std::vector<std::byte> bytes;
  for (uint64_t row = slice.row_begin(); row < slice.row_end(); ++row) {
    const std::byte* begin =
        tensor.bytes.data() +
        (row * static_cast<uint64_t>(tensor.columns) + slice.column_begin()) * element;
    bytes.insert(bytes.end(), begin, begin + row_bytes);
  }
  return bytes;
}

}  // namespace baton::fakes
