// The model-loader as a whole.
//
// Threads and what each owns:
// - gRPC's threads: one call each; a Load call owns its plan, its senders and threads of its own
//   that end with it: one that runs the transfer, and --read-threads that cut and send.
// - RangeReader's --read-threads: the reads, for all calls.
// - the transport's thread: UCX.
// - ServerRuntime's: signals and /metrics.
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "common/rpc/server_runtime.h"
#include "services/model_loader/loader_config.h"
#include "services/model_loader/loading_service.h"

namespace baton::loader {

class LoaderServer final {
 public:
  // Opens the model and checks all of it. `runtime` must outlive this object; it is not started.
  // Errors: as OpenServedModel, RangeReader::Create and Transport::Create.
  static absl::StatusOr<std::unique_ptr<LoaderServer>> Create(const LoaderConfig& config,
                                                              ServerRuntime* runtime);

  // Serves until SIGTERM, SIGINT or the runtime's RequestShutdown.
  absl::Status Run();

  // Reads that the storage has not answered: this object cannot be destroyed before they return.
  int num_stuck_reads() const { return reader_->counters().stuck_threads; }
  const ServedModel& model() const { return model_; }

 private:
  LoaderServer(const LoaderConfig& config, ServerRuntime* runtime, ServedModel model);

  ServerRuntime& runtime_;
  ServedModel model_;
  LoaderMetrics metrics_;
  ActiveLoads loads_;
  std::unique_ptr<RangeReader> reader_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<LoadingService> service_;
};

}  // namespace baton::loader
