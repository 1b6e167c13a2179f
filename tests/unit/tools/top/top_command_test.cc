#include "tools/top/top_command.h"

#include <memory>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "prometheus/gauge.h"
#include "prometheus/registry.h"

#include "common/metrics/metrics_server.h"

namespace baton {
namespace {

using testing::HasSubstr;

struct Ran {
  int code;
  std::string out;
  std::string err;
};

Ran Top(const std::vector<std::string>& words) {
  std::ostringstream out;
  std::ostringstream err;
  const int code = RunTop(words, out, err);
  return {code, out.str(), err.str()};
}

TEST(TopCommand, PrintsOneFrameOfWhatAnswers) {
  auto registry = std::make_shared<prometheus::Registry>();
  prometheus::BuildGauge().Name("baton_scheduler_epoch").Register(*registry).Add({}).Set(4);
  const auto server = MetricsServer::Create({.address = "127.0.0.1:0", .registry = registry});
  ASSERT_TRUE(server.ok()) << server.status();
  const Ran ran = Top({"--once", "--interval", "0.05", "--metrics",
                       absl::StrCat("http://127.0.0.1:", (*server)->port(), "/metrics")});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("scheduler  epoch 4"));
}

TEST(TopCommand, FailsIfNothingAnswers) {
  int port = 0;
  {
    const auto gone = MetricsServer::Create(
        {.address = "127.0.0.1:0", .registry = std::make_shared<prometheus::Registry>()});
    ASSERT_TRUE(gone.ok());
    port = (*gone)->port();
  }
  const Ran ran = Top({"--once", "--interval=0.05", "--metrics", absl::StrCat("127.0.0.1:", port)});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.out, HasSubstr("missing"));
  EXPECT_THAT(ran.err, HasSubstr("no process answers"));
}

TEST(TopCommand, NamesAStateFileThatIsNotThere) {
  const Ran ran = Top({"--once", "--interval=0.05", "--state-file", "/no/such/file"});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("/no/such/file"));
}

TEST(TopCommand, RefusesABadCommandLine) {
  EXPECT_EQ(Top({"--interval", "0"}).code, 2);
  EXPECT_EQ(Top({"--metrics", "nowhere"}).code, 2);
  EXPECT_THAT(Top({"--onse"}).err, HasSubstr("--once"));
  EXPECT_THAT(Top({"--help"}).out, HasSubstr("example:"));
}

}  // namespace
}  // namespace baton
