#include "services/gateway/http/write_pace.h"

#include <chrono>

#include "gtest/gtest.h"

namespace baton::gateway {
namespace {

using std::chrono::seconds;

const WritePace::TimePoint kWriteBegin{seconds(1000)};
constexpr HttpLimits kWriteLimits = {.write_timeout = absl::Seconds(30),
                                     .write_window_bytes = 1024};

TEST(WritePace, GoesOnAsLongAsEnoughIsConfirmedInEachWindow) {
  WritePace pace(kWriteLimits);
  EXPECT_EQ(pace.Begin(kWriteBegin, 7), kWriteBegin + seconds(30));
  EXPECT_EQ(pace.Continue(kWriteBegin + seconds(30), 7 + 1024), kWriteBegin + seconds(60));
  EXPECT_EQ(pace.Continue(kWriteBegin + seconds(61), 7 + 5000), kWriteBegin + seconds(91));
}

TEST(WritePace, EndsWithAWindowThatConfirmsTooLittle) {
  WritePace pace(kWriteLimits);
  pace.Begin(kWriteBegin, 0);
  EXPECT_EQ(pace.Continue(kWriteBegin + seconds(30), 2048), kWriteBegin + seconds(60));
  EXPECT_EQ(pace.Continue(kWriteBegin + seconds(60), 2048 + 1023), std::nullopt)
      << "a byte now and then keeps no answer in memory";
}

TEST(WritePace, WhatIsNotKnownIsNoProgress) {
  WritePace pace(kWriteLimits);
  pace.Begin(kWriteBegin, std::nullopt);
  EXPECT_EQ(pace.Continue(kWriteBegin + seconds(30), 5000), std::nullopt);
  pace.Begin(kWriteBegin, 5000);
  EXPECT_EQ(pace.Continue(kWriteBegin + seconds(30), std::nullopt), std::nullopt);
}

}  // namespace
}  // namespace baton::gateway
