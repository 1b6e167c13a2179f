#include "services/gateway/http/request_target.h"

#include "gtest/gtest.h"

namespace baton::gateway {
namespace {

TEST(RequestTarget, SplitsPathAndQuery) {
  EXPECT_EQ(ParseRequestTarget("/v1/models?a=b?c").path, "/v1/models");
  EXPECT_EQ(ParseRequestTarget("/v1/models?a=b?c").query, "a=b?c");
  EXPECT_EQ(ParseRequestTarget("/").path, "/");
}

TEST(RequestTarget, AbsoluteFormLosesItsAuthority) {
  EXPECT_EQ(ParseRequestTarget("http://host:80/v1/models").path, "/v1/models");
  EXPECT_EQ(ParseRequestTarget("HTTPS://host").path, "/");
  EXPECT_EQ(ParseRequestTarget("http://host?x").path, "");
}

TEST(RequestTarget, NothingIsNormalised) {
  EXPECT_EQ(ParseRequestTarget("//v1/../x%2e").path, "//v1/../x%2e");
  EXPECT_EQ(ParseRequestTarget("*").path, "*");
}

TEST(DecodeEscapes, TakesBytesAndRefusesWhatIsBroken) {
  EXPECT_EQ(DecodeEscapes("deepseek-ai%2FDeepSeek%2dR1"), "deepseek-ai/DeepSeek-R1");
  EXPECT_EQ(DecodeEscapes("a/b+c%C3%a4"), "a/b+c\xC3\xA4");
  EXPECT_EQ(DecodeEscapes("%252F"), "%2F");
  EXPECT_EQ(DecodeEscapes(""), "");
  for (const char* wrong :
       {"%", "%2", "a%", "%zz", "%2g", "%g2", "% 2", "%00", "%0a", "%1F", "%7f"}) {
    EXPECT_EQ(DecodeEscapes(wrong), std::nullopt) << wrong;
  }
}

TEST(CleanRequestId, KeepsPlainNamesOnly) {
  EXPECT_EQ(CleanRequestId("req-1_a.b:C"), "req-1_a.b:C");
  EXPECT_EQ(CleanRequestId(""), "");
  EXPECT_EQ(CleanRequestId("a b"), "");
  EXPECT_EQ(CleanRequestId("a\x1b[31m"), "");
  EXPECT_EQ(CleanRequestId(std::string(129, 'x')), "");
}

}  // namespace
}  // namespace baton::gateway
