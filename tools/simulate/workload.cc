#include "tools/simulate/workload.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace baton::simulate {
namespace {

// In (0, 1]; the engine's numbers are the same everywhere, the library's distributions are not.
double Uniform(std::mt19937_64& random) {
  return (static_cast<double>(random() >> 11) + 1) / 9007199254740992.0;
}

uint32_t Length(LengthSpread spread, uint32_t mean, std::mt19937_64& random) {
  double length = mean;
  if (spread == LengthSpread::kUniform) length *= 0.5 + Uniform(random);
  if (spread == LengthSpread::kExponential) length *= -std::log(Uniform(random));
  return std::max<uint32_t>(1, static_cast<uint32_t>(std::lround(length)));
}

absl::StatusOr<SimulatedRequest> ParseLine(const std::string& line, size_t number) {
  const nlohmann::json json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  const auto bad = [number](const char* what) {
    return absl::InvalidArgumentError(absl::StrCat("line ", number, " of the trace: ", what));
  };
  if (!json.is_object()) return bad("no JSON object");
  const auto number_at = [&json](const char* key) {
    const auto found = json.find(key);
    return found != json.end() && found->is_number() ? found->get<double>() : -1.0;
  };
  const double timestamp = number_at("timestamp");
  const double input = number_at("input_length");
  const double output = number_at("output_length");
  if (!(timestamp >= 0)) return bad("\"timestamp\" has to be a number of milliseconds");
  if (!(input >= 1 && input <= 1e7)) return bad("\"input_length\" has to be 1 to 10000000");
  if (!(output >= 1 && output <= 1e7)) return bad("\"output_length\" has to be 1 to 10000000");
  return SimulatedRequest{timestamp * 1e-3, static_cast<uint32_t>(input),
                          static_cast<uint32_t>(output)};
}

}  // namespace

std::vector<SimulatedRequest> MakeWorkload(const WorkloadOptions& options) {
  std::mt19937_64 random(options.seed);
  std::vector<SimulatedRequest> requests;
  double arrival = 0;
  for (uint32_t i = 0; i < options.num_requests; ++i) {
    if (options.request_rate > 0) arrival -= std::log(Uniform(random)) / options.request_rate;
    SimulatedRequest request{arrival};
    request.input_tokens = Length(options.input_spread, options.input_tokens, random);
    request.output_tokens = Length(options.output_spread, options.output_tokens, random);
    if (options.max_tokens > 1) {
      request.input_tokens = std::min(request.input_tokens, options.max_tokens - 1);
      request.output_tokens =
          std::min(request.output_tokens, options.max_tokens - request.input_tokens);
    }
    requests.push_back(request);
  }
  return requests;
}

absl::StatusOr<std::vector<SimulatedRequest>> ParseTrace(const std::string& text) {
  std::vector<SimulatedRequest> requests;
  std::istringstream lines(text);
  std::string line;
  for (size_t number = 1; std::getline(lines, line); ++number) {
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    absl::StatusOr<SimulatedRequest> request = ParseLine(line, number);
    if (!request.ok()) return request.status();
    requests.push_back(*request);
  }
  if (requests.empty()) return absl::InvalidArgumentError("the trace has no requests");
  std::stable_sort(
      requests.begin(), requests.end(),
      [](const SimulatedRequest& a, const SimulatedRequest& b) { return a.arrival < b.arrival; });
  return requests;
}

}  // namespace baton::simulate
