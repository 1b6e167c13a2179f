// Which stories the property test plays.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace baton::scheduler {

struct StorySeeds {
  uint64_t first = 1;
  uint64_t count = 2000;
};

// --seed=N: that one alone; with --num-seeds=M as many from there on.
inline StorySeeds SeedsOf(int argc, char** argv) {
  StorySeeds seeds;
  if (argc > 1) seeds.count = 1;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const char* const value = argv[i] + argument.find('=') + 1;
    if (argument.starts_with("--seed=")) {
      seeds.first = std::strtoull(value, nullptr, 10);
    } else if (argument.starts_with("--num-seeds=")) {
      seeds.count = std::strtoull(value, nullptr, 10);
    }
  }
  return seeds;
}

}  // namespace baton::scheduler
