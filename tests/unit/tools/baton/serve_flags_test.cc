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

TEST(ServeFlags, KnowsEveryFlagOfAnOldGuide) {
  for (const char* name :
       {"swap-space", "num-scheduler-steps", "preemption-mode", "scheduler-delay-factor",
        "max-seq-len-to-capture", "rope-scaling", "enable-prompt-adapter", "speculative-model",
        "num-speculative-tokens", "task", "disable-async-output-proc", "disable-log-requests",
        "enable-reasoning"}) {
    ASSERT_NE(FindServeFlag(name), nullptr) << name;
    EXPECT_EQ(FindServeFlag(name)->destinations, kIgnored) << name;
  }
}

}  // namespace
}  // namespace baton
