#include "services/gateway/admission/api_keys.h"

#include <fstream>
#include <sstream>
#include <sys/stat.h>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "common/digest/sha256.h"
#include "common/log/log.h"
#include "common/status/status_macros.h"

namespace baton::gateway {
namespace {

// The file is looked at so often at most, and only when somebody calls.
constexpr std::chrono::seconds kLookPause(1);

bool EqualInConstantTime(const Sha256Digest& left, const Sha256Digest& right) {
  volatile unsigned difference = 0;
  for (size_t i = 0; i < left.size(); ++i) {
    difference = difference | static_cast<unsigned>(left[i] ^ right[i]);
  }
  return difference == 0;
}

}  // namespace

ApiKeys::ApiKeys(Options options) : options_(std::move(options)) {
  for (size_t i = 0; i < options_.keys.size(); ++i) {
    flag_keys_.push_back({.name = absl::StrCat("key-", i + 1),
                          .digest = Sha256(options_.keys[i]),
                          .weight = i < options_.weights.size() ? options_.weights[i] : 1,
                          .limits = options_.limits});
  }
  table_ = std::make_shared<const Table>(flag_keys_);
}

ApiKeys::FileStamp ApiKeys::StampOf(const std::string& path) {
  struct stat found {};
  if (stat(path.c_str(), &found) != 0) return {};
  return {.modified_ns = found.st_mtim.tv_sec * int64_t{1'000'000'000} + found.st_mtim.tv_nsec,
          .inode = found.st_ino,
          .bytes = found.st_size};
}

absl::StatusOr<ApiKeys::Table> ApiKeys::ReadTable() const {
  std::ifstream file(options_.file);
  std::ostringstream read;
  if (file.is_open() && file.peek() != std::ifstream::traits_type::eof()) read << file.rdbuf();
  if (!file.is_open() || file.bad() || read.fail()) {
    return absl::NotFoundError(absl::StrCat("--api-key-file ", options_.file, " cannot be read"));
  }
  absl::StatusOr<Table> keys = ParseApiKeyFile(read.str(), options_.limits, flag_keys_);
  if (!keys.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--api-key-file ", options_.file, ": ", keys.status().message()));
  }
  keys->insert(keys->begin(), flag_keys_.begin(), flag_keys_.end());
  return keys;
}

absl::Status ApiKeys::Load() {
  if (options_.file.empty()) return absl::OkStatus();
  const FileStamp stamp = StampOf(options_.file);
  ASSIGN_OR_RETURN(Table table, ReadTable());
  absl::MutexLock lock(&mutex_);
  table_ = std::make_shared<const Table>(std::move(table));
  stamp_ = stamp;
  checked_ = std::chrono::steady_clock::now();
  return absl::OkStatus();
}

std::string ApiKeys::Describe() const {
  if (flag_keys_.empty() && options_.file.empty()) return "none: everybody may call";
  absl::MutexLock lock(&mutex_);
  std::vector<std::string> sources;
  if (!flag_keys_.empty()) {
    sources.push_back(absl::StrCat(flag_keys_.size(), " of ", options_.source));
  }
  if (!options_.file.empty()) {
    sources.push_back(absl::StrCat(table_->size() - flag_keys_.size(), " of --api-key-file"));
  }
  return absl::StrJoin(sources, ", ");
}

std::shared_ptr<const ApiKeys::Table> ApiKeys::Current() const {
  absl::MutexLock lock(&mutex_);
  const auto now = std::chrono::steady_clock::now();
  if (options_.file.empty() || now < checked_ + kLookPause) return table_;
  checked_ = now;
  const FileStamp stamp = StampOf(options_.file);
  if (stamp == stamp_) return table_;
  absl::StatusOr<Table> table = ReadTable();
  if (!table.ok()) {
    if (told_ != table.status().message()) {
      told_ = std::string(table.status().message());
      BATON_LOG(ERROR) << told_ << "; the keys stay what they were";
    }
    return table_;
  }
  stamp_ = stamp;
  told_.clear();
  BATON_LOG(INFO) << "--api-key-file " << options_.file << " has changed: " << table->size()
                  << " keys";
  table_ = std::make_shared<const Table>(*std::move(table));
  return table_;
}

absl::StatusOr<ApiCaller> ApiKeys::Identify(absl::string_view authorization) const {
  if (flag_keys_.empty() && options_.file.empty()) return ApiCaller{.limits = options_.limits};
  constexpr absl::string_view kScheme = "bearer ";
  if (!absl::StartsWithIgnoreCase(authorization, kScheme)) {
    return absl::UnauthenticatedError("an API key is required: Authorization: Bearer <key>");
  }
  const absl::string_view offered =
      absl::StripAsciiWhitespace(authorization.substr(kScheme.size()));
  if (offered.size() > kMaxKeyBytes) return absl::UnauthenticatedError("incorrect API key");
  const Sha256Digest digest = Sha256(offered);
  const std::shared_ptr<const Table> table = Current();
  const ApiKey* found = nullptr;
  for (const ApiKey& key : *table) {
    if (EqualInConstantTime(key.digest, digest)) found = &key;
  }
  if (found == nullptr) return absl::UnauthenticatedError("incorrect API key");
  ApiCaller caller{.name = found->name, .weight = found->weight, .limits = found->limits};
  if (!options_.share_cache) {
    caller.cache_owner =
        std::string(AsBytes(Sha256(absl::StrCat("owner of cached prompts: ", offered))));
  }
  return caller;
}

}  // namespace baton::gateway
