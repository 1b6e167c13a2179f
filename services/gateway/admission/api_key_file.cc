#include "services/gateway/admission/api_key_file.h"

#include <algorithm>
#include <limits>
#include <set>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

#include "common/status/status_macros.h"

namespace baton::gateway {
namespace {

constexpr size_t kMaxNameBytes = 64;

bool IsKeyName(absl::string_view name) {
  return name.size() <= kMaxNameBytes && std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                  absl::StrContains("-_.", absl::string_view(&c, 1));
         });
}

absl::Status ReadSetting(absl::string_view setting, ApiKey* key) {
  const std::vector<absl::string_view> parts = absl::StrSplit(setting, absl::MaxSplits('=', 1));
  if (parts.size() == 2 && parts[0] == "best-priority") {
    if (absl::SimpleAtoi(parts[1], &key->limits.best_priority)) return absl::OkStatus();
    return absl::InvalidArgumentError("best-priority must be a whole number of 32 bits");
  }
  uint32_t value = 0;
  if (parts.size() != 2 || !absl::SimpleAtoi(parts[1], &value)) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", setting, "\" is not of the form name=number"));
  }
  if (parts[0] == "weight") {
    if (value < 1 || value > kMaxKeyWeight) {
      return absl::InvalidArgumentError(absl::StrCat("weight must be 1 to ", kMaxKeyWeight));
    }
    key->weight = value;
  } else if (parts[0] == "requests-per-minute") {
    key->limits.requests_per_minute = value;
  } else if (parts[0] == "tokens-per-minute") {
    key->limits.tokens_per_minute = value;
  } else if (parts[0] == "max-num-requests") {
    key->limits.num_requests = value;
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", parts[0],
                     "\" is unknown; known: weight, requests-per-minute, tokens-per-minute, "
                     "max-num-requests, best-priority"));
  }
  return absl::OkStatus();
}

absl::StatusOr<ApiKey> ReadKey(const std::vector<absl::string_view>& words,
                               const KeyLimits& defaults) {
  ApiKey key{.limits = defaults};
  key.name = std::string(words[0]);
  if (!IsKeyName(key.name)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a name has at most ", kMaxNameBytes, " letters, digits, dashes, underscores or dots"));
  }
  const bool hex = words.size() > 1 && words[1].size() == 2 * key.digest.size() &&
                   std::all_of(words[1].begin(), words[1].end(), [](char c) {
                     return absl::ascii_isxdigit(static_cast<unsigned char>(c));
                   });
  if (!hex) {
    return absl::InvalidArgumentError("behind the name stands the SHA-256 of the key, 64 digits");
  }
  const std::string bytes = absl::HexStringToBytes(words[1]);
  std::copy(bytes.begin(), bytes.end(), key.digest.begin());
  absl::flat_hash_set<absl::string_view> given;
  for (size_t i = 2; i < words.size(); ++i) {
    RETURN_IF_ERROR(ReadSetting(words[i], &key));
    if (!given.insert(words[i].substr(0, words[i].find('='))).second) {
      return absl::InvalidArgumentError(absl::StrCat("\"", words[i], "\" is given twice"));
    }
  }
  return key;
}

}  // namespace

absl::StatusOr<std::vector<ApiKey>> ParseApiKeyFile(absl::string_view text,
                                                    const KeyLimits& defaults,
                                                    const std::vector<ApiKey>& others) {
  std::vector<ApiKey> keys;
  std::set<std::string> names;
  std::set<Sha256Digest> digests;
  for (const ApiKey& key : others) {
    names.insert(key.name);
    digests.insert(key.digest);
  }
  size_t number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = line.substr(0, line.find('#'));
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (words.empty()) continue;
    absl::StatusOr<ApiKey> key = ReadKey(words, defaults);
    if (key.ok() && !names.insert(key->name).second) {
      key = absl::InvalidArgumentError(absl::StrCat("the name ", key->name, " is given twice"));
    }
    if (key.ok() && !digests.insert(key->digest).second) {
      key = absl::InvalidArgumentError("the same key is given twice");
    }
    if (!key.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", number, ": ", key.status().message()));
    }
    keys.push_back(*std::move(key));
  }
  return keys;
}

}  // namespace baton::gateway
