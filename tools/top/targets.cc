#include "tools/top/targets.h"

#include <fstream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"

namespace baton::top {

absl::StatusOr<std::vector<Target>> ReadStateFile(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat("no ", path, ": no group has become ready"));
  const nlohmann::json state = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  const auto bad = absl::InvalidArgumentError(
      absl::StrCat(path, " is no file that `baton serve --state-file` wrote"));
  if (!state.is_object() || !state.contains("processes") || !state["processes"].is_array()) {
    return bad;
  }
  std::vector<Target> targets;
  for (const nlohmann::json& member : state["processes"]) {
    if (!member.is_object() || !member.contains("ports") || !member["ports"].is_object()) {
      return bad;
    }
    const std::string role = member.value("role", "");
    targets.push_back(
        {.name = role == "stage-worker" ? absl::StrCat(role, "-", member.value("index", 0)) : role,
         .host = "127.0.0.1",
         .port = member["ports"].value("metrics", 0)});
  }
  return targets;
}

absl::StatusOr<Target> ParseTarget(const std::string& url) {
  absl::string_view rest = absl::StripPrefix(url, "http://");
  Target target{.name = url};
  if (const size_t slash = rest.find('/'); slash != absl::string_view::npos) {
    if (rest.size() > slash + 1) target.path = std::string(rest.substr(slash));
    rest = rest.substr(0, slash);
  }
  const size_t colon = rest.rfind(':');
  if (colon == absl::string_view::npos || colon == 0 ||
      !absl::SimpleAtoi(rest.substr(colon + 1), &target.port) || target.port < 1 ||
      target.port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", url, "\" is not http://HOST:PORT/metrics"));
  }
  target.host = std::string(rest.substr(0, colon));
  return target;
}

std::vector<Target> DefaultTargets() {
  return {{.name = "gateway", .host = "127.0.0.1", .port = 9091},
          {.name = "scheduler", .host = "127.0.0.1", .port = 9092},
          {.name = "stage-worker-0", .host = "127.0.0.1", .port = 9093},
          {.name = "model-loader", .host = "127.0.0.1", .port = 9094}};
}

}  // namespace baton::top
