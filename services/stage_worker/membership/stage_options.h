// What one stage-worker is told when it starts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/time/time.h"

#include "common/rpc/rpc_identity.h"

namespace baton::stage {

struct StageOptions {
  std::string scheduler_address;     // "host:port"
  std::string model_loader_address;  // "host:port"
  std::shared_ptr<const RpcIdentity> identity = RpcIdentity::Plaintext();
  std::optional<uint32_t> stage_index;
  int num_ranks = 1;
  int num_devices = 1;
  // As MemoryLimits of execution/memory_plan.h.
  uint64_t memory_bytes = 0;
  uint64_t kv_cache_bytes = 0;
  double memory_utilization = 0.9;
  // Of structured output's masks, compiled constraints and their states.
  uint64_t constraint_bytes = uint64_t{512} << 20;
  std::string backend;  // for registration and logs: "cpu"
  // Whole blocks of prompts are computed in the expanded form of attention (RegisterStage).
  bool expands_prompts = false;
  std::string status_address;  // own gRPC server, for operators
  std::string ucx_transports;  // UCX_TLS
  std::string ucx_net_devices;
  absl::Duration ucx_spin = absl::ZeroDuration();
  // Bytes a second that the link from the stage before carries at least; 0: as its transports give.
  double least_link_rate = 0;
  // Slices of weights asked for in one call, at least one tensor's: keeps a call's message small.
  size_t max_slices_per_load = 16384;
  // Folder in which packed weights are kept for the next start; empty: they are not.
  std::string packed_weights_folder;
  // Of its files at most; 0: as long as a fifth of its file system stays free.
  uint64_t packed_weights_bytes = 0;
  int num_threads = 1;  // of the stage in all: so many check packed weights
  // Below the 250 ms that the protocol asks for, with room for a late wake-up.
  absl::Duration heartbeat_interval = absl::Milliseconds(200);
  // A scheduler silent for longer is gone.
  absl::Duration scheduler_timeout = absl::Seconds(1);
  // Longest wait of a step for the neighbours.
  absl::Duration step_timeout = absl::Seconds(30);
  // Longest wait at the start of an epoch, for steps of the old one and for the neighbours
  // together; the time that graphs take is not counted.
  absl::Duration connect_timeout = absl::Seconds(5);
};

}  // namespace baton::stage
