#include "services/gateway/http/body_pace.h"

#include <chrono>

#include "gtest/gtest.h"

namespace baton::gateway {
namespace {

using std::chrono::seconds;

const BodyPace::TimePoint kBegin{seconds(1000)};
constexpr HttpLimits kLimits = {.body_timeout = absl::Seconds(30),
                                .body_bytes_per_second = 1024,
                                .body_window = absl::Seconds(5)};

TEST(BodyPace, EndsWithTheFirstWindowThatBringsTooLittle) {
  BodyPace pace(kLimits);
  EXPECT_EQ(pace.Begin(kBegin), kBegin + seconds(5));
  EXPECT_EQ(pace.Continue(kBegin + seconds(5), 5120), kBegin + seconds(10));
  EXPECT_EQ(pace.Continue(kBegin + seconds(10), 10239), std::nullopt);
}

TEST(BodyPace, EndsWithTheBodysTimeHoweverMuchComes) {
  BodyPace pace(kLimits);
  pace.Begin(kBegin);
  for (int i = 1; i < 6; ++i) {
    EXPECT_EQ(pace.Continue(kBegin + i * seconds(5), i * size_t{1 << 20}),
              kBegin + (i + 1) * seconds(5));
  }
  EXPECT_EQ(pace.Continue(kBegin + seconds(30), 6 << 20), std::nullopt);
}

TEST(BodyPace, AWindowThatIsLookedAtTooLateCountsForTheClient) {
  BodyPace pace(kLimits);
  pace.Begin(kBegin);
  EXPECT_EQ(pace.Continue(kBegin + seconds(8), 0), kBegin + seconds(13));
  EXPECT_EQ(pace.Continue(kBegin + seconds(13), 0), std::nullopt);
}

TEST(BodyPace, ANewBodyBeginsAnew) {
  BodyPace pace(kLimits);
  pace.Begin(kBegin);
  EXPECT_TRUE(pace.Continue(kBegin + seconds(5), 1 << 20).has_value());
  EXPECT_EQ(pace.Begin(kBegin + seconds(60)), kBegin + seconds(65));
  EXPECT_EQ(pace.Continue(kBegin + seconds(65), 5120), kBegin + seconds(70));
}

}  // namespace
}  // namespace baton::gateway
