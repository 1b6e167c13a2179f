#include "tools/bench_serve/sse_reader.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::bench {
namespace {

using testing::ElementsAre;

constexpr absl::string_view kStream =
    ": ping\r\n\r\ndata: {\"a\": 1}\n\nevent: x\ndata:second\r\n\r\ndata: [DONE]\n\n";

TEST(SseReader, FindsTheSameEventsWhereverItIsCut) {
  for (size_t size = 1; size <= kStream.size(); ++size) {
    SseReader reader;
    std::vector<std::string> events;
    for (size_t begin = 0; begin < kStream.size(); begin += size) {
      reader.Feed(kStream.substr(begin, size),
                  [&](absl::string_view data) { events.emplace_back(data); });
    }
    EXPECT_THAT(events, ElementsAre("{\"a\": 1}", "second", "[DONE]")) << size;
  }
}

TEST(SseReader, HoldsBackALineThatHasNotEnded) {
  SseReader reader;
  int num_events = 0;
  reader.Feed("data: half", [&](absl::string_view) { ++num_events; });
  EXPECT_EQ(num_events, 0);
}

}  // namespace
}  // namespace baton::bench
