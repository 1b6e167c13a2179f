// A model-loader that serves a checkpoint from memory over gRPC and UCX, and fails when told to.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/server.h"

#include "common/rpc/peer.h"
#include "common/transport/transport.h"
#include "protos/baton/v1/loading.grpc.pb.h"
#include "tests/fakes/memory_checkpoint.h"

namespace baton::fakes {

// What one load says of the stage, and asks for.
struct LoadShare {
  uint64_t stage_bytes = 0;
  uint64_t held_bytes = 0;
  uint64_t asked_bytes = 0;
};

// Any thread.
class FakeModelLoader final : private v1::Loading::Service {
 public:
  // `checkpoint` must outlive the loader. Serves on a free port of 127.0.0.1.
  FakeModelLoader(std::string config_json, const MemoryCheckpoint* checkpoint);
  ~FakeModelLoader() override;

  std::string address() const;

  // What GetModel says of the loader's protocol version.
  void set_protocol_major(uint32_t major);
  // What GetModel says of the checkpoint's files; "" unless set, as an older loader. Loads that
  // want another one are refused.
  void set_checkpoint_fingerprint(const std::string& fingerprint);
  // After the next load, whose end FailNextLoad may choose, another loader has taken this one's
  // place: with this fingerprint.
  void ReplaceAfterNextLoad(const std::string& fingerprint);
  // The next load ends with `status` after this many slices.
  void FailNextLoad(int after_slices, const grpc::Status& status);
  // The next load's slice of this index arrives with a flipped bit, those before it whole.
  void DamageNextLoad(int slice);
  // The next load, and every later one, waits for ReleaseLoads before it sends anything.
  void HoldLoads();
  void ReleaseLoads();
  int num_loads() const;
  // The slices that each load asked for, in words.
  std::vector<std::vector<std::string>> loads() const;
  std::vector<LoadShare> shares() const;
  // GetVocabulary, which is refused as an older loader does, waits for ReleaseVocabulary first.
  void HoldVocabulary();
  // Waits until it is asked for. False: it is not within 20 s.
  bool AwaitVocabularyCall();
  void ReleaseVocabulary();

 private:
  grpc::Status GetModel(grpc::ServerContext* context, const v1::GetModelRequest* request,
                        v1::GetModelResponse* response) override;
  grpc::Status GetVocabulary(grpc::ServerContext* context, const v1::GetVocabularyRequest* request,
                             v1::GetVocabularyResponse* response) override;
  grpc::Status Load(grpc::ServerContext* context, const v1::LoadRequest* request,
                    grpc::ServerWriter<v1::LoadEvent>* writer) override;
  absl::Status SendTarget(const v1::LoadTarget& target, int max_slices);
  // Sends a slice with a checksum that is not its own.
  absl::Status SendDamaged(const v1::LoadTarget& target, int slice);
  absl::StatusOr<std::vector<std::byte>> BytesOf(const v1::TensorSlice& slice) const;

  const std::string config_json_;
  const MemoryCheckpoint* const checkpoint_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;

  mutable absl::Mutex mutex_;
  uint32_t protocol_major_ ABSL_GUARDED_BY(mutex_) = kProtocolMajor;
  std::string checkpoint_fingerprint_ ABSL_GUARDED_BY(mutex_);
  std::optional<std::string> next_fingerprint_ ABSL_GUARDED_BY(mutex_);
  bool held_ ABSL_GUARDED_BY(mutex_) = false;
  int fail_after_ ABSL_GUARDED_BY(mutex_) = -1;
  int damage_ ABSL_GUARDED_BY(mutex_) = -1;
  grpc::Status failure_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::vector<std::string>> loads_ ABSL_GUARDED_BY(mutex_);
  std::vector<LoadShare> shares_ ABSL_GUARDED_BY(mutex_);
  bool vocabulary_held_ ABSL_GUARDED_BY(mutex_) = false;
  bool vocabulary_asked_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace baton::fakes
