#include "services/gateway/http/access_log.h"

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace baton::gateway {
namespace {

HttpRequest HostileRequest() {
  HttpRequest request;
  request.method = "GET";
  request.path = "/a\"b\\\n\xff";
  return request;
}

const ExchangeRecord kRecord = {.peer = "127.0.0.1:40444",
                                .status = 200,
                                .body_bytes = 12,
                                .duration = absl::Microseconds(1500),
                                .request_id = "cmpl-1",
                                .complete = true};

TEST(AccessLog, JsonLinesParseWhateverClientsSend) {
  const std::string line =
      FormatAccess(AccessLogFormat::kJson, HostileRequest(), kRecord, "key-1", absl::UnixEpoch());
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const auto json = nlohmann::json::parse(line);
  EXPECT_EQ(json["time"], "1970-01-01T00:00:00.000000Z");
  EXPECT_EQ(json["method"], "GET");
  EXPECT_EQ(json["path"], "/a\"b\\\n\u00ff");
  EXPECT_EQ(json["status"], 200);
  EXPECT_EQ(json["bytes"], 12);
  EXPECT_EQ(json["ms"], 1.5);
  EXPECT_EQ(json["key"], "key-1");
  EXPECT_EQ(json["id"], "cmpl-1");
  EXPECT_EQ(json["complete"], true);
}

TEST(AccessLog, TextIsOneLine) {
  ExchangeRecord record = kRecord;
  record.complete = false;
  EXPECT_EQ(
      FormatAccess(AccessLogFormat::kText, HostileRequest(), record, "", absl::UnixEpoch()),
      "127.0.0.1:40444 - \"GET /a\\\"b\\\\\\u000a\\u00ff\" 200 12 B 1.5 ms id=cmpl-1 broken off");
}

TEST(AccessLog, NamesThatClientsMadeUpAreQuoted) {
  ExchangeRecord record = kRecord;
  record.request_id = "a key=key-2";
  EXPECT_TRUE(absl::EndsWith(
      FormatAccess(AccessLogFormat::kText, HostileRequest(), record, "", absl::UnixEpoch()),
      " id=\"a key=key-2\""));
}

TEST(AccessLog, RefusesOtherFormats) {
  EXPECT_EQ(*ParseAccessLogFormat("json"), AccessLogFormat::kJson);
  EXPECT_FALSE(ParseAccessLogFormat("JSON").ok());
}

}  // namespace
}  // namespace baton::gateway
