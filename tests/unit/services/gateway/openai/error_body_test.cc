#include "services/gateway/openai/error_body.h"

#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "services/gateway/admission/refusal.h"
#include "services/gateway/json/strict_json.h"

namespace baton::gateway {
namespace {

std::string HeaderOf(const HttpResponse& response, const std::string& name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return "";
}

TEST(ErrorBody, HasOpenAisFourKeys) {
  const Json json = Json::parse(ErrorJson(InvalidField("top_p", "is wrong")));
  EXPECT_EQ(json.dump(), R"({"error":{"message":"top_p is wrong","type":"invalid_request_error",)"
                         R"("param":"top_p","code":"invalid_value"}})");
  EXPECT_TRUE(Json::parse(ErrorJson("m", "t", "", ""))["error"]["param"].is_null());
}

TEST(ErrorBody, CodesMeanOneThing) {
  EXPECT_EQ(HttpStatusOf(absl::InvalidArgumentError("")), 400);
  EXPECT_EQ(HttpStatusOf(absl::UnauthenticatedError("")), 401);
  EXPECT_EQ(HttpStatusOf(absl::NotFoundError("")), 404);
  EXPECT_EQ(HttpStatusOf(absl::ResourceExhaustedError("")), 503);
  EXPECT_EQ(HttpStatusOf(absl::UnavailableError("")), 503);
  EXPECT_EQ(HttpStatusOf(absl::DeadlineExceededError("")), 504);
  EXPECT_EQ(HttpStatusOf(absl::InternalError("")), 500);
  EXPECT_EQ(HttpStatusOf(absl::DataLossError("")), 500);
  EXPECT_EQ(HttpStatusOf(WithReason(absl::InvalidArgumentError(""), kUnsupportedContentType)), 400);
  EXPECT_EQ(HttpStatusOf(WithReason(absl::ResourceExhaustedError(""), kRateLimitExceeded)), 429);
}

TEST(ErrorBody, TellsClientsWhenToRetry) {
  const HttpResponse later =
      ErrorResponse(WithRetryAfter(absl::UnavailableError("x"), absl::Milliseconds(1200)));
  EXPECT_EQ(HeaderOf(later, "Retry-After"), "2");
  EXPECT_EQ(HeaderOf(later, "retry-after-ms"), "1200");
  EXPECT_EQ(HeaderOf(later, "x-should-retry"), "true");
  const HttpResponse long_later =
      ErrorResponse(WithRetryAfter(absl::UnavailableError("x"), absl::Hours(1)));
  EXPECT_EQ(HeaderOf(long_later, "Retry-After"), "60");  // clients ignore more
  std::set<std::string> times;                           // of those for which nobody said one
  for (int i = 0; i < 100; ++i) {
    times.insert(HeaderOf(ErrorResponse(absl::UnavailableError("x")), "Retry-After"));
  }
  EXPECT_THAT(times, testing::ElementsAre("2", "3")) << "1 to 3 s, rounded up";
  EXPECT_EQ(HeaderOf(ErrorResponse(absl::InternalError("x")), "x-should-retry"), "false");
  const absl::Status limit = WithReason(absl::ResourceExhaustedError("x"), kRateLimitExceeded);
  EXPECT_EQ(HeaderOf(ErrorResponse(WithRetryAfter(limit, absl::Seconds(3))), "Retry-After"), "3");
}

TEST(ErrorBody, AsksToRetryWhereTheSameRequestMaySucceedLater) {
  const auto should_retry = [](const absl::Status& status) {
    return HeaderOf(ErrorResponse(status), "x-should-retry");
  };
  EXPECT_EQ(should_retry(WithReason(absl::UnavailableError("x"), "server_is_draining")), "true");
  EXPECT_EQ(should_retry(absl::UnavailableError("x")), "true");
  EXPECT_EQ(should_retry(absl::ResourceExhaustedError("overload")), "true");
  EXPECT_EQ(should_retry(absl::InvalidArgumentError("x")), "");
}

}  // namespace
}  // namespace baton::gateway
