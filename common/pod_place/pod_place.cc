#include "common/pod_place/pod_place.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "common/status/status_macros.h"

namespace baton {
namespace {

using Getter = std::function<const char*(const char*)>;

std::string Text(const Getter& get, const char* name) {
  const char* value = get(name);
  return value == nullptr ? "" : value;
}

absl::StatusOr<std::optional<uint32_t>> Number(const Getter& get, const char* name) {
  const std::string text = Text(get, name);
  if (text.empty()) return std::nullopt;
  uint32_t number = 0;
  if (!absl::SimpleAtoi(text, &number)) {
    return absl::InvalidArgumentError(absl::StrCat(name, " is \"", text, "\", not a number"));
  }
  return number;
}

}  // namespace

absl::StatusOr<PodPlace> ReadPodPlace(const Getter& get) {
  PodPlace place;
  place.leader_address = Text(get, "LWS_LEADER_ADDRESS");
  place.pod_ip = Text(get, "POD_IP");
  ASSIGN_OR_RETURN(place.group_size, Number(get, "LWS_GROUP_SIZE"));
  ASSIGN_OR_RETURN(place.worker_index, Number(get, "LWS_WORKER_INDEX"));
  if (place.group_size.has_value() && place.worker_index.has_value() &&
      *place.worker_index >= *place.group_size) {
    return absl::InvalidArgumentError(absl::StrCat("LWS_WORKER_INDEX is ", *place.worker_index,
                                                   " in a group of LWS_GROUP_SIZE ",
                                                   *place.group_size));
  }
  return place;
}

absl::StatusOr<std::optional<uint32_t>> StageOfPod(const PodPlace& place, bool leader_is_stage) {
  if (!place.worker_index.has_value()) return std::nullopt;
  if (leader_is_stage) return place.worker_index;
  if (*place.worker_index > 0) return *place.worker_index - 1;
  return absl::InvalidArgumentError(
      "LWS_WORKER_INDEX is 0, the leader, which runs a stage only with --leader-is-stage");
}

std::optional<uint32_t> StagesOfGroup(const PodPlace& place, bool leader_is_stage) {
  if (!place.group_size.has_value()) return std::nullopt;
  const uint32_t others = std::max(*place.group_size, uint32_t{1}) - 1;
  const uint32_t stages = leader_is_stage ? *place.group_size : others;
  if (stages == 0) return std::nullopt;
  return stages;
}

std::string JoinHostPort(absl::string_view host, int port) {
  const bool ipv6 = absl::StrContains(host, ':') && !absl::StartsWith(host, "[");
  return ipv6 ? absl::StrCat("[", host, "]:", port) : absl::StrCat(host, ":", port);
}

std::string AdvertisedAddress(absl::string_view listen_address, int port, const PodPlace& place) {
  const absl::string_view host = listen_address.substr(0, listen_address.rfind(':'));
  const bool everywhere = host.empty() || host == "0.0.0.0" || host == "[::]" || host == "::";
  return JoinHostPort(everywhere && !place.pod_ip.empty() ? place.pod_ip : host, port);
}

}  // namespace baton
