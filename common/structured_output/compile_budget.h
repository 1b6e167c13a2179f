// What compiling one constraint may cost. Work is counted, not timed, so that what one process
// accepts another accepts too, on whatever machine.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace baton::structured {

struct CompileLimits {
  size_t schema_bytes = 64 << 10;
  size_t regex_bytes = 2 << 10;
  // Of all choices, or of a grammar, which may hold the schemas of all functions that a request
  // offers.
  size_t text_bytes = 256 << 10;
  int depth = 64;  // of groups in a regex, of schemas in a schema
  size_t num_rules = 20'000;
  size_t num_nodes = 200'000;  // of all automata
  // Steps of a few nanoseconds: about 200 ms on a core of 2020.
  size_t work = 20'000'000;
};

// What compiling a constraint took, counted as its limits are.
struct CompileCost {
  size_t text_bytes = 0;  // of its grammar or other text
  size_t num_rules = 0;
  size_t num_nodes = 0;
  size_t work = 0;
};

// The first limit that is exceeded is remembered; whoever loops asks ok() now and then.
class CompileBudget final {
 public:
  explicit CompileBudget(const CompileLimits& limits) : limits_(limits) {}

  // False once a limit is exceeded.
  bool Work(size_t steps);
  bool AddNodes(size_t count);
  bool AddRule();
  // InvalidArgument "`what`: nested deeper than 64" beyond the limit.
  bool CheckDepth(int depth, absl::string_view what);
  void Fail(absl::Status status);

  bool ok() const { return status_.ok(); }
  const absl::Status& status() const { return status_; }
  const CompileLimits& limits() const { return limits_; }
  // So far, without bytes of texts.
  CompileCost cost() const {
    return {.num_rules = num_rules_, .num_nodes = num_nodes_, .work = work_};
  }

 private:
  const CompileLimits limits_;
  size_t work_ = 0;
  size_t num_nodes_ = 0;
  size_t num_rules_ = 0;
  absl::Status status_;
};

}  // namespace baton::structured
