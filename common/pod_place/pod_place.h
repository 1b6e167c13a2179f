// What Kubernetes tells a process of its pod: its place in a LeaderWorkerSet's group, its address.
//
// LeaderWorkerSet puts LWS_LEADER_ADDRESS, LWS_GROUP_SIZE and LWS_WORKER_INDEX into every
// container; manifests/ puts POD_IP beside them. Elsewhere none of them is set, and a PodPlace is
// empty.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace baton {

struct PodPlace {
  std::string leader_address;            // without a port; empty: not in a LeaderWorkerSet
  std::optional<uint32_t> group_size;    // pods of the group, the leader among them
  std::optional<uint32_t> worker_index;  // 0: the leader
  std::string pod_ip;                    // as IPv4 or IPv6, without brackets; empty: not known
};

// From variables; `get` gives the value of one, or nullptr (std::getenv). Errors: InvalidArgument
// naming the variable and its value, also where the index is not within the size.
absl::StatusOr<PodPlace> ReadPodPlace(const std::function<const char*(const char*)>& get);

// The stage of this pod where stages are the pods of one group: worker i is stage i if the leader
// is stage 0, else stage i - 1. None without a LeaderWorkerSet. Errors: InvalidArgument for a
// leader that is no stage.
absl::StatusOr<std::optional<uint32_t>> StageOfPod(const PodPlace& place, bool leader_is_stage);

// Stages of the group: its pods, without the leader unless that is a stage. None without a
// LeaderWorkerSet, and for a group that has no pod for a stage.
std::optional<uint32_t> StagesOfGroup(const PodPlace& place, bool leader_is_stage);

// "host:port", with brackets around an IPv6 address.
std::string JoinHostPort(absl::string_view host, int port);

// Where others reach what this process serves on `listen_address` ("0.0.0.0:50053"), at `port`: an
// address that stands for all of the machine's ("0.0.0.0", "[::]", none) becomes the pod's, if that
// is known.
std::string AdvertisedAddress(absl::string_view listen_address, int port, const PodPlace& place);

}  // namespace baton
