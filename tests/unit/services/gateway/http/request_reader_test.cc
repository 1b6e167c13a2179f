#include "services/gateway/http/request_reader.h"

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "boost/asio/buffer.hpp"
#include "gtest/gtest.h"

#include "services/gateway/http/body_budget.h"
#include "services/gateway/http/http_limits.h"

namespace baton::gateway {
namespace {

using Stage = RequestReader::Stage;

void Arrive(RequestReader& reader, const std::string& bytes) {
  boost::asio::buffer_copy(reader.Prepare(bytes.size()), boost::asio::buffer(bytes));
  reader.Commit(bytes.size());
}

std::string Post(const std::string& body) {
  return absl::StrCat("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: ", body.size(), "\r\n\r\n",
                      body);
}

// The caller says first whether it wants it.
TEST(RequestReader, TakesNothingOfABodyThatCameWithItsHeader) {
  const HttpLimits limits;
  const auto bodies = std::make_shared<BodyBudget>(0);
  RequestReader reader(limits, bodies);
  const std::string body(2 * BodyHold::kFreeBytes, 'x');
  Arrive(reader, Post(body));
  ASSERT_EQ(reader.Advance(), Stage::kBody);
  EXPECT_EQ(reader.num_unread(), body.size());
  EXPECT_EQ(reader.num_body_bytes(), 0u);
  reader.DropBody();
  ASSERT_EQ(reader.Advance(), Stage::kComplete);
  EXPECT_EQ(reader.TakeRequest().body, "");

  Arrive(reader, Post(body));
  ASSERT_EQ(reader.Advance(), Stage::kBody);
  ASSERT_EQ(reader.Advance(), Stage::kRefused);
  EXPECT_EQ(reader.problem().status, 503);
}

TEST(RequestReader, CompletesARequestWithoutABodyAtOnce) {
  const HttpLimits limits;
  RequestReader reader(limits, std::make_shared<BodyBudget>(0));
  Arrive(reader, "GET / HTTP/1.1\r\nHost: t\r\n\r\n" + Post("") + Post("a"));
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(reader.Advance(), Stage::kComplete);
    reader.TakeRequest();
  }
  ASSERT_EQ(reader.Advance(), Stage::kBody);
  ASSERT_EQ(reader.Advance(), Stage::kComplete);
  EXPECT_EQ(reader.TakeRequest().body, "a");
}

TEST(RequestReader, ExpectsNothingInHttp10) {
  const HttpLimits limits;
  for (const bool http_1_0 : {false, true}) {
    RequestReader reader(limits, std::make_shared<BodyBudget>(0));
    Arrive(reader, absl::StrCat("POST / HTTP/1.", http_1_0 ? 0 : 1,
                                "\r\nHost: t\r\nContent-Length: 1\r\n"
                                "Expect: 100-continue\r\n\r\n"));
    ASSERT_EQ(reader.Advance(), Stage::kBody);
    EXPECT_EQ(reader.awaits_continue(), !http_1_0);
  }
}

}  // namespace
}  // namespace baton::gateway
