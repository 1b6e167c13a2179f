// Command lines of the commands that `baton` runs itself: a table of flags, and what was given.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace baton {

enum class FlagKind {
  kSwitch,  // --flag or --no-flag
  kValue,   // --flag VALUE or --flag=VALUE; the last one wins
  kList,    // --flag VALUE...: all words up to the next flag; may be repeated
};

struct FlagRow {
  absl::string_view name;  // without dashes: "request-rate"
  FlagKind kind;
  absl::string_view default_text;  // for the help; empty: none
  absl::string_view help;
};

class GivenFlags final {
 public:
  explicit GivenFlags(std::map<std::string, std::vector<std::string>> values,
                      std::vector<std::string> positional)
      : values_(std::move(values)), positional_(std::move(positional)) {}

  bool Has(absl::string_view name) const { return values_.contains(std::string(name)); }
  const std::vector<std::string>& positional() const { return positional_; }

  // Each leaves `value` as it is if the flag was not given. Errors: InvalidArgument with a line for
  // the user.
  absl::Status Read(absl::string_view name, bool* value) const;
  absl::Status Read(absl::string_view name, std::string* value) const;
  absl::Status Read(absl::string_view name, std::vector<std::string>* value) const;
  // Within [least, most]; "inf" is a number if `most` is infinite.
  absl::Status Read(absl::string_view name, double least, double most, double* value) const;
  absl::Status Read(absl::string_view name, int64_t least, int64_t most, int64_t* value) const;

 private:
  const std::string* Last(absl::string_view name) const;

  std::map<std::string, std::vector<std::string>> values_;
  std::vector<std::string> positional_;
};

// `_` in a flag's name is `-`. Errors: InvalidArgument with a line for the user: an unknown flag
// (with the nearest one), a missing value.
absl::StatusOr<GivenFlags> ParseFlags(const std::vector<std::string>& words,
                                      const std::vector<FlagRow>& table);

// One line per flag.
std::string FlagHelp(const std::vector<FlagRow>& table);

}  // namespace baton
