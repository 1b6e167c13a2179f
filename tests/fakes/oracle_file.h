// The oracle of tests/data/tiny-r1: sequences with their log-probabilities, and the errors that an
// independent bfloat16 run has against them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace baton::fakes {

// The most likely next tokens after `position`.
struct OracleTop {
  uint32_t position = 0;
  std::vector<uint32_t> ids;
  std::vector<float> logprobs;
};

struct OracleSequence {
  int id = 0;
  std::string kind;  // "chat", "long", "noise"
  std::vector<uint32_t> prompt_ids;
  std::vector<uint32_t> greedy_ids;
  std::vector<OracleTop> top;

  std::vector<uint32_t> AllIds() const;
};

struct OracleErrors {
  std::map<std::string, double> rms_by_kind;
  double top1_agreement = 0.0;
};

// `path`: fp8.jsonl or bf16.jsonl.
absl::StatusOr<std::vector<OracleSequence>> ReadOracle(const std::string& path);

// `path`: mtp-fp8.jsonl. What the MTP module predicts, by the id of the sequence: an entry at
// position p, for the token at p + 2 of a sequence that goes on as the oracle did.
absl::StatusOr<std::map<int, std::vector<OracleTop>>> ReadMtpOracle(const std::string& path);

// `path`: summary.json; `form`: "fp8" or "bf16".
absl::StatusOr<OracleErrors> ReadOracleErrors(const std::string& path, const std::string& form);

}  // namespace baton::fakes
