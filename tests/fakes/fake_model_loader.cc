#include "tests/fakes/fake_model_loader.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"

#include "common/checksum/crc32c.h"
#include "common/model/model_config.h"
#include "common/rpc/peer.h"
#include "common/rpc/status_conversion.h"
#include "common/status/status_macros.h"
#include "common/transport/chunk_sender.h"

namespace baton::fakes {
namespace {

absl::Time Soon() { return absl::Now() + absl::Seconds(20); }

std::string WordsOf(const v1::TensorSlice& slice) {
  return absl::StrCat(slice.name(), " [", slice.row_begin(), ", ", slice.row_end(), ") x [",
                      slice.column_begin(), ", ", slice.column_end(), ")");
}

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

void FakeModelLoader::DamageNextLoad(int slice) {
  const absl::MutexLock lock(&mutex_);
  damage_ = slice;
}

void FakeModelLoader::HoldLoads() {
  const absl::MutexLock lock(&mutex_);
  held_ = true;
}

void FakeModelLoader::ReleaseLoads() {
  const absl::MutexLock lock(&mutex_);
  held_ = false;
}

std::vector<std::vector<std::string>> FakeModelLoader::loads() const {
  const absl::MutexLock lock(&mutex_);
  return loads_;
}

int FakeModelLoader::num_loads() const {
  const absl::MutexLock lock(&mutex_);
  return static_cast<int>(loads_.size());
}

std::vector<LoadShare> FakeModelLoader::shares() const {
  const absl::MutexLock lock(&mutex_);
  return shares_;
}

void FakeModelLoader::HoldVocabulary() {
  const absl::MutexLock lock(&mutex_);
  vocabulary_held_ = true;
}

bool FakeModelLoader::AwaitVocabularyCall() {
  const absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithDeadline(absl::Condition(&vocabulary_asked_), Soon());
}

void FakeModelLoader::set_checkpoint_fingerprint(const std::string& fingerprint) {
  const absl::MutexLock lock(&mutex_);
  checkpoint_fingerprint_ = fingerprint;
}

void FakeModelLoader::ReplaceAfterNextLoad(const std::string& fingerprint) {
  const absl::MutexLock lock(&mutex_);
  next_fingerprint_ = fingerprint;
}

void FakeModelLoader::ReleaseVocabulary() {
  const absl::MutexLock lock(&mutex_);
  vocabulary_held_ = false;
}

grpc::Status FakeModelLoader::GetVocabulary(grpc::ServerContext*, const v1::GetVocabularyRequest*,
                                            v1::GetVocabularyResponse*) {
  const absl::MutexLock lock(&mutex_);
  vocabulary_asked_ = true;
  const auto free = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !vocabulary_held_; };
  mutex_.AwaitWithDeadline(absl::Condition(&free), Soon());
  return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "an older loader");
}

grpc::Status FakeModelLoader::GetModel(grpc::ServerContext*, const v1::GetModelRequest*,
                                       v1::GetModelResponse* response) {
  response->set_config_json(config_json_);
  response->set_model_fingerprint(ModelFingerprint(config_json_));
  *response->mutable_peer() = MakePeerInfo("model-loader");
  const absl::MutexLock lock(&mutex_);
  response->mutable_peer()->mutable_version()->set_major(protocol_major_);
  response->set_checkpoint_fingerprint(checkpoint_fingerprint_);
  return grpc::Status::OK;
}

grpc::Status FakeModelLoader::Load(grpc::ServerContext*, const v1::LoadRequest* request,
                                   grpc::ServerWriter<v1::LoadEvent>* writer) {
  int max_slices = std::numeric_limits<int>::max();
  grpc::Status failure;
  {
    const absl::MutexLock lock(&mutex_);
    if (!request->checkpoint_fingerprint().empty() &&
        request->checkpoint_fingerprint() != checkpoint_fingerprint_) {
      return grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, "another checkpoint");
    }
    std::vector<std::string>& slices = loads_.emplace_back();
    LoadShare& share = shares_.emplace_back();
    share.stage_bytes = request->stage_bytes();
    share.held_bytes = request->held_bytes();
    for (const v1::LoadTarget& target : request->targets()) {
      for (const v1::TensorSlice& slice : target.slices()) {
        slices.push_back(WordsOf(slice));
        share.asked_bytes += BytesOf(slice).value_or(std::vector<std::byte>()).size();
      }
    }
    const auto free = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !held_; };
    mutex_.AwaitWithDeadline(absl::Condition(&free), Soon());
    if (fail_after_ >= 0) max_slices = std::exchange(fail_after_, -1);
    failure = std::exchange(failure_, grpc::Status::OK);
  }
  for (const v1::LoadTarget& target : request->targets()) {
    const absl::Status sent = SendTarget(target, max_slices);
    if (!sent.ok()) return ToGrpcStatus(sent);
  }
  {
    const absl::MutexLock lock(&mutex_);
    if (next_fingerprint_.has_value()) {
      checkpoint_fingerprint_ = *std::exchange(next_fingerprint_, std::nullopt);
    }
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
  int damage = -1;
  {
    const absl::MutexLock lock(&mutex_);
    damage = std::exchange(damage_, -1);
  }
  for (int i = 0; i < num_slices; ++i) {
    absl::StatusOr<std::vector<std::byte>> bytes = BytesOf(target.slices(i));
    if (!bytes.ok()) return bytes.status();
    if (i == damage) {
      RETURN_IF_ERROR(sender->Finish(Soon()));  // what came before is packed
      RETURN_IF_ERROR(SendDamaged(target, i));
    }
    const auto owned = std::make_shared<std::vector<std::byte>>(*std::move(bytes));
    RETURN_IF_ERROR(sender->SendChunk(static_cast<uint32_t>(i), 0, *owned, Soon(),
                                      [owned](const absl::Status&) {}));
  }
  return sender->Finish(Soon());
}

absl::Status FakeModelLoader::SendDamaged(const v1::LoadTarget& target, int slice) {
  ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, BytesOf(target.slices(slice)));
  ASSIGN_OR_RETURN(const std::shared_ptr<Peer> peer,
                   transport_->Connect(target.ucx_address(), Soon()));
  absl::Notification sent;
  peer->Send(
      {.kind = FrameKind::kWeightChunk,
       .stream_id = target.transfer_id(),
       .total_bytes = bytes.size(),
       .slot = static_cast<uint32_t>(slice),
       .payload_crc = Crc32c(bytes) ^ 1},
      bytes, [&sent](const absl::Status&) { sent.Notify(); }, /*has_payload_crc=*/true);
  sent.WaitForNotification();
  return absl::OkStatus();
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
