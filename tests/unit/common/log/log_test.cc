#include "common/log/log.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

class Log : public ::testing::Test {
 protected:
  ~Log() override {
    SetMinLogLevel(LogLevel::kInfo);
    SetLogRole("baton");
  }
};

TEST_F(Log, WritesTimeLevelRoleAndPlace) {
  SetLogRole("scheduler");
  ::testing::internal::CaptureStderr();
  BATON_LOG(WARNING) << "epoch " << 3;
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              MatchesRegex("[0-9-]+T[0-9:.]+Z WARN scheduler log_test.cc:[0-9]+\\] epoch 3\n"));
}

TEST_F(Log, AMessageIsOneLineOfText) {
  ::testing::internal::CaptureStderr();
  BATON_LOG(INFO) << "a\nb\r\t\\ " << '\x1b' << '\0' << "\x7f \u00e9";
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              HasSubstr("] a\\nb\\r\\t\\ \\x1b\\x00\\x7f \u00e9\n"));
}

TEST_F(Log, DropsLinesBelowTheMinimumWithoutEvaluatingThem) {
  int evaluations = 0;
  ::testing::internal::CaptureStderr();
  BATON_LOG(DEBUG) << ++evaluations;
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(evaluations, 0);
  SetMinLogLevel(LogLevel::kDebug);
  ::testing::internal::CaptureStderr();
  BATON_LOG(DEBUG) << ++evaluations;
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("] 1\n"));
}

TEST_F(Log, ParsesLevels) {
  LogLevel level = LogLevel::kInfo;
  EXPECT_TRUE(ParseLogLevel("warning", &level));
  EXPECT_EQ(level, LogLevel::kWarning);
  EXPECT_TRUE(ParseLogLevel("debug", &level));
  EXPECT_EQ(level, LogLevel::kDebug);
  EXPECT_FALSE(ParseLogLevel("WARN", &level));
  EXPECT_EQ(level, LogLevel::kDebug);
}

}  // namespace
}  // namespace baton
