#include "tools/baton/serve_flags.h"

#include <set>

#include "gtest/gtest.h"

namespace baton {
namespace {

TEST(ServeFlags, HasNoNameTwice) {
  std::set<absl::string_view> names;
  for (const ServeFlag& flag : ServeFlags())
    EXPECT_TRUE(names.insert(flag.name).second) << flag.name;
}

TEST(ServeFlags, SaysForEachFlagWhatItIsOrWhyItIsIgnored) {
  for (const ServeFlag& flag : ServeFlags()) EXPECT_FALSE(flag.help.empty()) << flag.name;
}

TEST(ServeFlags, KnowsShortForms) {
  EXPECT_EQ(FindServeFlag("tp")->name, "tensor-parallel-size");
  EXPECT_EQ(FindServeFlag("pp")->name, "pipeline-parallel-size");
  EXPECT_EQ(FindServeFlag("xp"), nullptr);
}

TEST(ServeFlags, SuggestsNoFlagThatIsIgnoredOrRefused) {
  for (const std::string& name : MeaningfulServeFlags()) {
    if (name == "help") continue;
    const unsigned destinations = FindServeFlag(name)->destinations;
    EXPECT_TRUE(destinations != kIgnored && destinations != kRefused) << name;
  }
}

}  // namespace
}  // namespace baton
