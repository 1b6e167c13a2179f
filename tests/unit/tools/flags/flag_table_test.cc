#include "tools/flags/flag_table.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::vector<FlagRow> kTable = {{"request-rate", FlagKind::kValue, "inf", "a second"},
                                     {"header", FlagKind::kList, "", "KEY=VALUE"},
                                     {"ignore-eos", FlagKind::kSwitch, "", ""}};

TEST(FlagTable, TakesEverySpelling) {
  const auto flags = ParseFlags({"--request_rate=3", "word", "--header", "a=1", "b=2",
                                 "--ignore-eos", "--header=c=3", "--request-rate", "4"},
                                kTable);
  ASSERT_TRUE(flags.ok()) << flags.status();
  double rate = 0;
  bool ignore_eos = false;
  std::vector<std::string> headers;
  EXPECT_TRUE(flags->Read("request-rate", 0.0, 10.0, &rate).ok());
  EXPECT_TRUE(flags->Read("ignore-eos", &ignore_eos).ok());
  EXPECT_TRUE(flags->Read("header", &headers).ok());
  EXPECT_EQ(rate, 4);
  EXPECT_TRUE(ignore_eos);
  EXPECT_THAT(headers, ElementsAre("a=1", "b=2", "c=3"));
  EXPECT_THAT(flags->positional(), ElementsAre("word"));
}

TEST(FlagTable, LeavesWhatIsNotGiven) {
  const auto flags = ParseFlags({"--no-ignore-eos"}, kTable);
  ASSERT_TRUE(flags.ok());
  double rate = 7;
  bool ignore_eos = true;
  EXPECT_TRUE(flags->Read("request-rate", 0.0, 1.0, &rate).ok());
  EXPECT_TRUE(flags->Read("ignore-eos", &ignore_eos).ok());
  EXPECT_EQ(rate, 7);
  EXPECT_FALSE(ignore_eos);
}

TEST(FlagTable, NamesTheNearestFlag) {
  EXPECT_THAT(ParseFlags({"--reqest-rate", "1"}, kTable).status().message(),
              HasSubstr("did you mean --request-rate?"));
  EXPECT_FALSE(ParseFlags({"--no-header"}, kTable).ok());
}

TEST(FlagTable, RefusesMissingAndBadValues) {
  EXPECT_THAT(ParseFlags({"--request-rate"}, kTable).status().message(),
              HasSubstr("--request-rate wants a value"));
  const auto flags = ParseFlags({"--request-rate", "fast", "--ignore-eos=maybe"}, kTable);
  ASSERT_TRUE(flags.ok());
  double rate = 0;
  int64_t count = 0;
  bool ignore_eos = false;
  EXPECT_THAT(flags->Read("request-rate", 0.0, 1.0, &rate).message(), HasSubstr("\"fast\""));
  EXPECT_FALSE(flags->Read("request-rate", int64_t{0}, int64_t{9}, &count).ok());
  EXPECT_FALSE(flags->Read("ignore-eos", &ignore_eos).ok());
}

}  // namespace
}  // namespace baton
