#include "common/structured_output/compile_budget.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace baton::structured {
namespace {

absl::Status TooLarge(absl::string_view what, size_t limit) {
  return absl::InvalidArgumentError(
      absl::StrCat("the constraint is too large: more than ", limit, " ", what));
}

}  // namespace

bool CompileBudget::Work(size_t steps) {
  work_ += steps;
  if (ok() && work_ > limits_.work) Fail(TooLarge("steps to compile it", limits_.work));
  return ok();
}

bool CompileBudget::AddNodes(size_t count) {
  num_nodes_ += count;
  if (ok() && num_nodes_ > limits_.num_nodes) {
    Fail(TooLarge("states of its automaton", limits_.num_nodes));
  }
  return ok();
}

bool CompileBudget::AddRule() {
  if (ok() && ++num_rules_ > limits_.num_rules) Fail(TooLarge("rules", limits_.num_rules));
  return ok();
}

bool CompileBudget::CheckDepth(int depth, absl::string_view what) {
  if (ok() && depth > limits_.depth) {
    Fail(absl::InvalidArgumentError(
        absl::StrCat(what, ": nested deeper than ", limits_.depth, " levels")));
  }
  return ok();
}

void CompileBudget::Fail(absl::Status status) {
  if (ok()) status_ = std::move(status);
}

}  // namespace baton::structured
