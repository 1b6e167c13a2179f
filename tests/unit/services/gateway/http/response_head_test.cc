#include "services/gateway/http/response_head.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::gateway {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(ResponseHead, HasStatusFramingAndConnection) {
  const std::string head = FormatResponseHead(
      {.status = 404, .content_type = "application/json", .content_length = 7}, {{"X-A", "b"}});
  EXPECT_THAT(head, testing::StartsWith("HTTP/1.1 404 Not Found\r\n"));
  EXPECT_THAT(head, HasSubstr("Content-Length: 7\r\n"));
  EXPECT_THAT(head, HasSubstr("X-A: b\r\n"));
  EXPECT_THAT(head, HasSubstr("Connection: keep-alive\r\n"));
  EXPECT_THAT(head, Not(HasSubstr("Transfer-Encoding")));
  EXPECT_THAT(head, testing::EndsWith("\r\n\r\n"));
}

TEST(ResponseHead, AValueCannotAddAHeader) {
  EXPECT_THAT(FormatResponseHead({}, {{"X-A", "b\r\nSet-Cookie: c"}}),
              HasSubstr("X-A: b  Set-Cookie: c\r\n"));
}

TEST(AppendChunk, WritesSizeInHexAndNeverAnEmptyChunk) {
  std::string out;
  AppendChunk("", &out);
  EXPECT_EQ(out, "");
  AppendChunk(std::string(31, 'x'), &out);
  EXPECT_EQ(out, "1f\r\n" + std::string(31, 'x') + "\r\n");
}

}  // namespace
}  // namespace baton::gateway
