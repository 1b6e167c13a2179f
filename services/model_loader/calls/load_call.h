// Loading.Load: one object per call, living on the call's thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/sync_stream.h"

#include "common/concurrency/steady_mutex.h"
#include "common/transport/chunk_sender.h"
#include "common/transport/transport.h"
#include "protos/baton/v1/loading.pb.h"
#include "services/model_loader/calls/active_loads.h"
#include "services/model_loader/calls/load_request.h"
#include "services/model_loader/metrics/loader_metrics.h"
#include "services/model_loader/source/range_reader.h"
#include "services/model_loader/transfer/slice_transfer.h"

namespace baton::loader {

struct LoadOptions {
  int num_threads = 4;
  uint64_t job_bytes = uint64_t{2} << 20;
  bool lend_memory = true;
  absl::Duration connect_deadline = absl::Seconds(10);
  absl::Duration send_deadline = absl::Seconds(30);
};

// What all calls share; everything must outlive them.
struct LoadResources {
  const ServedModel* model = nullptr;
  RangeReader* reader = nullptr;
  Transport* transport = nullptr;
  ActiveLoads* loads = nullptr;
  LoaderMetrics* metrics = nullptr;
  LoadOptions options;
};

class LoadCall final {
 public:
  LoadCall(const LoadResources& resources, grpc::ServerContext* context,
           grpc::ServerWriter<v1::LoadEvent>* writer)
      : resources_(resources), context_(*context), writer_(*writer) {}

  // Serves the whole call. Errors: as the service's comment in loading.proto.
  absl::Status Run(const v1::LoadRequest& request);

 private:
  absl::Status Serve(const v1::LoadRequest& request);
  absl::Status CheckFiles(const ReadPlan& plan) const;
  absl::Status Connect(const CheckedLoad& load);
  absl::Status Transfer(const CheckedLoad& load, const ReadPlan& plan);
  void Watch(const CheckedLoad& load, const ReadPlan& plan, SliceTransfer& transfer,
             const SteadyNotification& done);
  void ReportMetrics(const CheckedLoad& load, const ReadPlan& plan);
  bool Send(v1::LoadEvent event);

  const LoadResources& resources_;
  grpc::ServerContext& context_;
  grpc::ServerWriter<v1::LoadEvent>& writer_;
  std::vector<std::unique_ptr<ChunkSender>> senders_;
  std::string way_;  // how the bytes went, for the log
  LoadProgress progress_;
  uint64_t next_sequence_number_ = 0;
  uint64_t reported_read_bytes_ = 0;  // in metrics so far
  uint64_t reported_sent_bytes_ = 0;
  absl::Time start_;
};

}  // namespace baton::loader
