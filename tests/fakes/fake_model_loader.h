// A model-loader that serves a checkpoint from memory over gRPC and UCX, and fails when told to.
#pragma once

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/server.h"

#include "common/rpc/peer.h"
#include "common/transport/transport.h"
#include "protos/baton/v1/loading.grpc.pb.h"
#include "tests/fakes/memory_checkpoint.h"

namespace baton::fakes {

// Any thread.
class FakeModelLoader final : private v1::Loading::Service {
 public:
  // `checkpoint` must outlive the loader. Serves on a free port of 127.0.0.1.
  FakeModelLoader(std::string config_json, const MemoryCheckpoint* checkpoint);
  ~FakeModelLoader() override;

  std::string address() const;

  // What GetModel says of the loader's protocol version.
  void set_protocol_major(uint32_t major);
  // The next load ends with `status` after this many slices.
  void FailNextLoad(int after_slices, const grpc::Status& status);
  int num_loads() const;
  // Slices sent so far, over all loads.
  int num_slices_sent() const;

 private:
  grpc::Status GetModel(grpc::ServerContext* context, const v1::GetModelRequest* request,
                        v1::GetModelResponse* response) override;
  grpc::Status Load(grpc::ServerContext* context, const v1::LoadRequest* request,
                    grpc::ServerWriter<v1::LoadEvent>* writer) override;
  absl::Status SendTarget(const v1::LoadTarget& target, int max_slices);
  absl::StatusOr<std::vector<std::byte>> BytesOf(const v1::TensorSlice& slice) const;

  const std::string config_json_;
  const MemoryCheckpoint* const checkpoint_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;

  mutable absl::Mutex mutex_;
  uint32_t protocol_major_ ABSL_GUARDED_BY(mutex_) = kProtocolMajor;
  int fail_after_ ABSL_GUARDED_BY(mutex_) = -1;
  grpc::Status failure_ ABSL_GUARDED_BY(mutex_);
  int num_loads_ ABSL_GUARDED_BY(mutex_) = 0;
  int num_slices_sent_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace baton::fakes
