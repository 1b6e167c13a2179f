#include "services/gateway/admission/constraint_checker.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/digest/sha256.h"
#include "services/gateway/admission/refusal.h"

namespace baton::gateway {
namespace {

// Of an entry beside its texts: two nodes, an estimate.
constexpr size_t kEntryBytes = 128;

// Different for constraints that differ in anything: each text stands behind its length.
std::string DigestOf(const structured::Constraint& constraint, size_t share) {
  std::string all = absl::StrCat(static_cast<int>(constraint.kind), constraint.compact ? "c" : "-",
                                 constraint.whitespace_pattern ? "w" : "-", share, "/");
  const auto add = [&all](absl::string_view text) {
    absl::StrAppend(&all, text.size(), ":", text);
  };
  add(constraint.text);
  add(constraint.whitespace_pattern.value_or(""));
  for (const std::string& choice : constraint.choices) add(choice);
  return std::string(AsBytes(Sha256(all)));
}

}  // namespace

absl::Status ConstraintChecker::Check(absl::string_view field,
                                      const structured::Constraint& constraint, size_t share) {
  std::string digest = DigestOf(constraint, share);
  std::optional<std::string> refusal;
  {
    absl::MutexLock lock(&mutex_);
    if (const auto found = refusals_.find(digest); found != refusals_.end()) {
      refusal = found->second;
    }
  }
  if (!refusal) {
    refusal = Compile(constraint, share);
    absl::MutexLock lock(&mutex_);
    ++num_compiled_;
    Remember(std::move(digest), *refusal);
  }
  return refusal->empty() ? absl::OkStatus() : InvalidField(field, *refusal);
}

size_t ConstraintChecker::num_compiled() const {
  absl::MutexLock lock(&mutex_);
  return num_compiled_;
}

std::string ConstraintChecker::Compile(const structured::Constraint& constraint,
                                       size_t share) const {
  structured::CompileLimits limits;
  limits.num_rules /= share;
  limits.num_nodes /= share;
  limits.work /= share;
  const absl::StatusOr<structured::Automaton> compiled =
      structured::CompileConstraint(constraint, limits);
  if (!compiled.ok()) return absl::StrCat("is refused: ", compiled.status().message());
  for (const uint32_t token : compiled->token_symbols) {
    if (std::binary_search(token_ids_.begin(), token_ids_.end(), token)) continue;
    return absl::StrCat("names <[", token,
                        "]>, which is no added token of this model; ordinary ones are written as "
                        "their text");
  }
  return "";
}

void ConstraintChecker::Remember(std::string digest, std::string refusal) {
  const auto bytes_of = [](const std::string& key, const std::string& text) {
    return kEntryBytes + 2 * key.size() + text.size();
  };
  const size_t num_new_bytes = bytes_of(digest, refusal);
  const auto [entry, is_new] = refusals_.emplace(digest, std::move(refusal));
  if (!is_new) return;  // another thread was faster
  num_bytes_ += num_new_bytes;
  digests_.push_back(std::move(digest));
  while (num_bytes_ > capacity_bytes_) {
    const auto oldest = refusals_.find(digests_.front());
    num_bytes_ -= bytes_of(oldest->first, oldest->second);
    refusals_.erase(oldest);
    digests_.pop_front();
  }
}

}  // namespace baton::gateway
