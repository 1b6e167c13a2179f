// A model-loader in this process: its real service, transport and reader over a small checkpoint,
// reached through gRPC and UCX like any other.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/rpc/server_runtime.h"
#include "common/transport/chunk_receiver.h"
#include "common/transport/transport.h"
#include "protos/baton/v1/loading.grpc.pb.h"
#include "services/model_loader/loading_service.h"
#include "tests/fakes/checkpoint_writer.h"
#include "tests/fakes/fake_byte_source.h"

namespace baton::testing {

struct HarnessOptions {
  std::string transports = "tcp";
  size_t max_loads = 4;
  absl::Duration read_deadline = absl::Seconds(30);
  absl::Duration send_deadline = absl::Seconds(30);
  absl::Duration connect_deadline = absl::Seconds(30);
};

class LoaderHarness {
 public:
  explicit LoaderHarness(const HarnessOptions& options = {});
  ~LoaderHarness();

  v1::Loading::Stub& stub() { return *stub_; }
  int grpc_port() const { return runtime_->grpc_port(); }
  const loader::ServedModel& model() const { return model_; }
  // Makes reads hang or fail on command.
  FakeByteSource& source() { return *source_; }
  loader::LoadingService& service() { return *service_; }
  // baton_loader_load_fraction of stage 0; -1 before it has one.
  double load_fraction() const;
  // As if the process had ended; nothing but stub() may be used after it.
  void Die();
  // A tensor's bytes as they were written.
  const WrittenTensor& tensor(const std::string& name) const;

 private:
  TempFolder folder_;
  std::vector<WrittenTensor> tensors_;
  loader::ServedModel model_;
  std::unique_ptr<FakeByteSource> source_;
  std::unique_ptr<loader::RangeReader> reader_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<ServerRuntime> runtime_;
  std::unique_ptr<loader::LoaderMetrics> metrics_;
  std::unique_ptr<loader::ActiveLoads> loads_;
  std::unique_ptr<loader::LoadingService> service_;
  std::unique_ptr<v1::Loading::Stub> stub_;
};

// A stage-worker's receiving side: ranks of one stage, each its own target.
class LoadingWorker {
 public:
  // Asks for what `num_ranks` ranks of a stage with all layers need.
  LoadingWorker(const LoaderHarness& harness, int num_ranks, const std::string& transports = "tcp");

  // May be changed before it is sent.
  v1::LoadRequest& request() { return request_; }
  // Everything that was asked for has arrived and equals what the files hold.
  void ExpectComplete(const LoaderHarness& harness);
  // As if the process had ended.
  void Die();

 private:
  // One target's memory; done with a slice as soon as it has arrived.
  class Target final : public SliceSink {
   public:
    Target(ChunkReceiver* receiver, uint64_t transfer_id)
        : receiver_(*receiver), transfer_id_(transfer_id) {}
    void AddSlice(size_t bytes) { slices_.emplace_back(bytes, '\0'); }
    const std::string& slice(size_t index) const { return slices_[index]; }
    std::vector<uint64_t> slice_bytes() const;

    absl::StatusOr<std::span<std::byte>> Destination(size_t slice_index) override;
    void SliceArrived(size_t slice_index) override;

   private:
    ChunkReceiver& receiver_;
    const uint64_t transfer_id_;
    std::vector<std::string> slices_;
  };

  void AddTarget(const LoaderHarness& harness, int rank, int num_ranks);

  v1::LoadRequest request_;
  std::vector<std::unique_ptr<Target>> targets_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<ChunkReceiver> receiver_;
};

}  // namespace baton::testing
