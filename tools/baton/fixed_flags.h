// Flags of vLLM for what has one value here: a command that says this value means what happens, one
// that says another would be given other answers than it asks for.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace baton {

// What the values are held against.
struct FixedFacts {
  std::string model_dir;  // a folder with a config.json
  std::string dtype;      // as --dtype or BATON_DTYPE says; empty: not said
};

// Whether `value` is a path of `model_dir`, however it is written.
bool IsModelFolder(const std::string& value, const std::string& model_dir);

// Whether flag `name`, whose destination is kFixed, may have this value. Errors: InvalidArgument
// with the values that may stand there. Reads config.json where they depend on it.
absl::Status CheckFixedFlag(absl::string_view name, const std::string& value,
                            const FixedFacts& facts);

}  // namespace baton
