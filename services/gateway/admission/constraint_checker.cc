#include "services/gateway/admission/constraint_checker.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"

#include "common/digest/sha256.h"
#include "services/gateway/admission/refusal.h"

namespace baton::gateway {
namespace {

// Of an entry beside its texts: two nodes and the cost, an estimate.
constexpr size_t kEntryBytes = 160;

// Different for constraints that differ in anything, or in their limits: each text stands behind
// its length.
std::string DigestOf(const structured::Constraint& constraint,
                     const structured::CompileLimits& limits) {
  std::string all = absl::StrCat(static_cast<int>(constraint.kind), constraint.compact ? "c" : "-",
                                 constraint.whitespace_pattern ? "w" : "-");
  absl::StrAppend(&all, limits.schema_bytes, "/", limits.regex_bytes, "/", limits.text_bytes, "/");
  absl::StrAppend(&all, limits.depth, "/", limits.num_rules, "/", limits.num_nodes, "/",
                  limits.work, "/");
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
                                      const structured::Constraint& constraint,
                                      const structured::CompileLimits& limits,
                                      structured::CompileCost* cost) {
  std::string digest = DigestOf(constraint, limits);
  std::optional<Outcome> outcome;
  {
    absl::MutexLock lock(&mutex_);
    if (const auto found = outcomes_.find(digest); found != outcomes_.end()) {
      outcome = found->second;
    }
  }
  if (!outcome) {
    outcome = Compile(constraint, limits);
    absl::MutexLock lock(&mutex_);
    ++num_compiled_;
    Remember(std::move(digest), *outcome);
  }
  if (cost != nullptr) *cost = outcome->cost;
  return outcome->refusal.empty() ? absl::OkStatus() : InvalidField(field, outcome->refusal);
}

size_t ConstraintChecker::num_compiled() const {
  absl::MutexLock lock(&mutex_);
  return num_compiled_;
}

ConstraintChecker::Outcome ConstraintChecker::Compile(
    const structured::Constraint& constraint, const structured::CompileLimits& limits) const {
  Outcome outcome;
  const absl::StatusOr<structured::Automaton> compiled =
      structured::CompileConstraint(constraint, limits, &outcome.cost);
  if (!compiled.ok()) {
    outcome.refusal = absl::StrCat("is refused: ", compiled.status().message());
    return outcome;
  }
  for (const uint32_t token : compiled->token_symbols) {
    if (std::binary_search(token_ids_.begin(), token_ids_.end(), token)) continue;
    outcome.refusal = absl::StrCat("names <[", token,
                                   "]>, which is no added token of this model; ordinary ones are "
                                   "written as their text");
    break;
  }
  return outcome;
}

void ConstraintChecker::Remember(std::string digest, Outcome outcome) {
  const auto bytes_of = [](const std::string& key, const Outcome& kept) {
    return kEntryBytes + 2 * key.size() + kept.refusal.size();
  };
  const size_t num_new_bytes = bytes_of(digest, outcome);
  const auto [entry, is_new] = outcomes_.emplace(digest, std::move(outcome));
  if (!is_new) return;  // another thread was faster
  num_bytes_ += num_new_bytes;
  digests_.push_back(std::move(digest));
  while (num_bytes_ > capacity_bytes_) {
    const auto oldest = outcomes_.find(digests_.front());
    num_bytes_ -= bytes_of(oldest->first, oldest->second);
    outcomes_.erase(oldest);
    digests_.pop_front();
  }
}

}  // namespace baton::gateway
