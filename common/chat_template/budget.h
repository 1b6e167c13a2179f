// What one rendering may still cost.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace baton {

class Budget {
 public:
  Budget(uint64_t steps, size_t max_bytes) : steps_(steps), max_bytes_(max_bytes) {}

  // Errors: ResourceExhausted when fewer steps are left.
  absl::Status Spend(uint64_t steps) {
    if (steps > steps_) return absl::ResourceExhaustedError("the template takes too many steps");
    steps_ -= steps;
    return absl::OkStatus();
  }

  // The cost of making a text of `bytes`.
  absl::Status SpendText(size_t bytes) {
    if (bytes > max_bytes_) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the template makes a text of ", bytes, " bytes; at most ", max_bytes_));
    }
    return Spend(bytes / kTextUnitBytes);
  }

 private:
  static constexpr size_t kTextUnitBytes = 64;

  uint64_t steps_;
  size_t max_bytes_;
};

}  // namespace baton
