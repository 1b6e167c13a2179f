#include "tests/fakes/oracle_file.h"

#include <fstream>

#include "nlohmann/json.hpp"

namespace baton::fakes {

std::vector<uint32_t> OracleSequence::AllIds() const {
  std::vector<uint32_t> ids = prompt_ids;
  ids.insert(ids.end(), greedy_ids.begin(), greedy_ids.end());
  return ids;
}

absl::StatusOr<std::vector<OracleSequence>> ReadOracle(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(path);
  std::vector<OracleSequence> sequences;
  for (std::string line; std::getline(file, line);) {
    const nlohmann::json entry = nlohmann::json::parse(line);
    OracleSequence sequence{
        entry["id"], entry["kind"], entry["prompt_ids"], entry["greedy_ids"], {}};
    for (const nlohmann::json& top : entry["top"]) {
      sequence.top.push_back({top["position"], top["ids"], top["logprobs"]});
    }
    sequences.push_back(std::move(sequence));
  }
  return sequences;
}

absl::StatusOr<std::map<int, std::vector<OracleTop>>> ReadMtpOracle(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(path);
  std::map<int, std::vector<OracleTop>> predictions;
  for (std::string line; std::getline(file, line);) {
    const nlohmann::json entry = nlohmann::json::parse(line);
    std::vector<OracleTop>& tops = predictions[entry["id"]];
    for (const nlohmann::json& top : entry["predictions"]) {
      tops.push_back({top["position"], top["ids"], top["logprobs"]});
    }
  }
  return predictions;
}

absl::StatusOr<OracleErrors> ReadOracleErrors(const std::string& path, const std::string& form) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(path);
  const nlohmann::json summary = nlohmann::json::parse(file)[form];
  OracleErrors errors;
  errors.top1_agreement = summary["bf16_top1_agreement"];
  for (const auto& [kind, entry] : summary["by_kind"].items()) {
    errors.rms_by_kind[kind] = entry["bf16_rms_error"];
  }
  return errors;
}

}  // namespace baton::fakes
