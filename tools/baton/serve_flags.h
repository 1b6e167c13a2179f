// The flags of `baton serve`: vLLM's names, and which role each goes to.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace baton {

enum class FlagShape { kSwitch, kValue, kList };

// Where a flag goes. A flag may go to several roles.
inline constexpr unsigned kToGateway = 1;
inline constexpr unsigned kToScheduler = 2;
inline constexpr unsigned kToStageWorker = 4;
inline constexpr unsigned kToModelLoader = 8;
inline constexpr unsigned kToSupervisor = 16;
inline constexpr unsigned kIgnored = 0;
// A flag of vLLM that would mean something here and is not served: nobody must believe that it is.
inline constexpr unsigned kRefused = 32;
// A flag of vLLM for what has one value here (fixed_flags): refused with another.
inline constexpr unsigned kFixed = 64;

struct ServeFlag {
  absl::string_view name;  // without dashes: "max-model-len"
  FlagShape shape;
  unsigned destinations;
  absl::string_view help;  // for an ignored, a refused or a fixed flag: why
};

// In the order of the help text.
const std::vector<ServeFlag>& ServeFlags();

// The flag of that name, or null. Takes vLLM's short forms too: "-tp", "-pp".
const ServeFlag* FindServeFlag(absl::string_view name);

// Names of the flags that mean something here, for suggestions.
std::vector<std::string> MeaningfulServeFlags();

}  // namespace baton
