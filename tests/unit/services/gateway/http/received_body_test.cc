#include "services/gateway/http/received_body.h"

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "boost/asio/buffer.hpp"
#include "boost/beast/http/parser.hpp"
#include "gtest/gtest.h"

namespace baton::gateway {
namespace {

using Parser = boost::beast::http::request_parser<ReceivedBody>;

void Put(Parser& parser, std::string text) {
  boost::beast::error_code error;
  while (!text.empty() && !parser.is_done()) {
    const size_t num_used = parser.put(boost::asio::buffer(text), error);
    ASSERT_TRUE(!error || error == boost::beast::http::error::need_more) << error.message();
    if (num_used == 0) break;
    text.erase(0, num_used);
  }
}

TEST(ReceivedBody, TakesMemoryForWhatHasComeAndNotForWhatIsAnnounced) {
  const auto bodies = std::make_shared<BodyBudget>(1000);
  Parser parser;
  parser.get().body().hold = BodyHold(bodies);
  parser.eager(true);
  parser.body_limit(1 << 30);
  const std::string begin(BodyHold::kFreeBytes + 3, 'x');
  Put(parser, "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000000\r\n\r\n" + begin);
  EXPECT_EQ(parser.get().body().text, begin);
  EXPECT_LT(parser.get().body().text.capacity(), 2 * begin.size() + 1000);
  EXPECT_EQ(bodies->num_bytes(), 3u);
}

TEST(ReceivedBody, HoldsTheWholeBodyHoweverItComes) {
  for (const std::string& rest :
       {std::string("Content-Length: 6\r\n\r\nabcdef"),
        std::string("Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n2\r\nef\r\n0\r\n\r\n")}) {
    const std::string request = "POST / HTTP/1.1\r\nHost: t\r\n" + rest;
    Parser parser;
    parser.get().body().hold = BodyHold(std::make_shared<BodyBudget>(6));
    parser.eager(true);
    Put(parser, request);
    EXPECT_TRUE(parser.is_done());
    EXPECT_EQ(parser.get().body().text, "abcdef");
  }
}

TEST(ReceivedBody, WhatIsDroppedIsCountedAndNotHeld) {
  const auto bodies = std::make_shared<BodyBudget>(4);
  Parser parser;
  parser.get().body().hold = BodyHold(bodies);
  parser.eager(true);
  const size_t num_bytes = BodyHold::kFreeBytes + 9;
  Put(parser, absl::StrCat("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: ", num_bytes, "\r\n\r\n",
                           std::string(num_bytes - 6, 'x')));
  EXPECT_EQ(bodies->num_bytes(), 3u);
  parser.get().body().Drop();
  EXPECT_EQ(bodies->num_bytes(), 0u);
  Put(parser, "defghi");
  EXPECT_TRUE(parser.is_done());
  EXPECT_EQ(parser.get().body().text, "");
  EXPECT_EQ(parser.get().body().num_received, num_bytes);
}

}  // namespace
}  // namespace baton::gateway
