// Brings all weights of a stage from the model-loader into its devices' stores.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "common/concurrency/steady_mutex.h"
#include "common/transport/chunk_receiver.h"
#include "common/transport/transport.h"
#include "services/stage_worker/clients/loader_client.h"
#include "services/stage_worker/clients/weight_reception.h"
#include "services/stage_worker/weights/weight_store.h"

namespace baton::stage {

struct WeightLoaderOptions {
  LoaderClient* client = nullptr;      // must outlive the loader
  Transport* transport = nullptr;      // must outlive the loader
  std::vector<WeightStore*> stores;    // one per device; must outlive the loader
  std::string fingerprint;             // of config.json
  std::string checkpoint_fingerprint;  // of the checkpoint; empty: the loader does not say
  uint32_t stage_index = 0;
  uint32_t chunk_bytes = 4 << 20;
  // Slices asked for in one call, at least one tensor's.
  size_t max_slices_per_call = 16384;
  // A loader that cannot be reached, or whose bytes come with a wrong checksum, is asked again this
  // often; what is packed is not asked for again.
  int max_attempts = 20;
};

class WeightLoader final {
 public:
  explicit WeightLoader(WeightLoaderOptions options);

  // Returns when every slice is packed. Errors: what the loader refuses with; Unavailable if it
  // cannot be reached after max_attempts; Cancelled.
  absl::Status Run();
  // Ends Run. Any thread.
  void Cancel();

  // Of all slices of the stage, in all calls. Any thread.
  uint64_t loaded_bytes() const;
  uint64_t total_bytes() const { return total_bytes_; }

 private:
  // Everything that is missing, call by call.
  absl::Status LoadMissing();
  // The tensors [first, last) of all devices.
  absl::Status LoadTensors(size_t first, size_t last);
  absl::Status BeginTransfers(size_t first, size_t last, v1::LoadRequest* request);
  size_t EndOfCall(size_t first) const;

  const WeightLoaderOptions options_;
  const std::unique_ptr<ChunkReceiver> receiver_;
  std::vector<std::unique_ptr<WeightReception>> receptions_;
  uint64_t total_bytes_ = 0;
  SteadyNotification cancelled_;
};

}  // namespace baton::stage
