#include "tools/simulate/workload.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "gtest/gtest.h"

namespace baton::simulate {
namespace {

TEST(Workload, IsTheSameForASeed) {
  WorkloadOptions options{.num_requests = 50, .request_rate = 5};
  options.output_spread = LengthSpread::kExponential;
  EXPECT_EQ(MakeWorkload(options), MakeWorkload(options));
  const auto before = MakeWorkload(options);
  options.seed = 2;
  EXPECT_NE(MakeWorkload(options), before);
}

TEST(Workload, HasTheRateAndTheMeanLengths) {
  WorkloadOptions options{.num_requests = 20000, .request_rate = 4, .input_tokens = 500};
  options.input_spread = LengthSpread::kUniform;
  options.output_spread = LengthSpread::kExponential;
  const auto requests = MakeWorkload(options);
  double input = 0;
  double output = 0;
  for (const SimulatedRequest& request : requests) {
    input += request.input_tokens / 20000.0;
    output += request.output_tokens / 20000.0;
    ASSERT_GE(request.input_tokens, 250u);
    ASSERT_LE(request.input_tokens, 750u);
    ASSERT_GE(request.output_tokens, 1u);
  }
  EXPECT_NEAR(requests.back().arrival, 5000, 200);
  EXPECT_NEAR(input, 500, 10);
  EXPECT_NEAR(output, 256, 10);
}

TEST(Workload, CutsLengthsAtTheModels) {
  WorkloadOptions options{.num_requests = 3, .input_tokens = 90, .output_tokens = 90};
  options.max_tokens = 100;
  for (const SimulatedRequest& request : MakeWorkload(options)) {
    EXPECT_EQ(request.input_tokens, 90u);
    EXPECT_EQ(request.output_tokens, 10u);
  }
}

TEST(Workload, ReadsATraceInOrderOfArrival) {
  const auto trace = ParseTrace(
      "{\"timestamp\": 1500, \"input_length\": 10, \"output_length\": 2, \"hash_ids\": [1]}\n\n"
      "{\"timestamp\": 500, \"input_length\": 20, \"output_length\": 4}\n");
  ASSERT_TRUE(trace.ok()) << trace.status();
  EXPECT_EQ(*trace, (std::vector<SimulatedRequest>{{0.5, 20, 4}, {1.5, 10, 2}}));
}

TEST(Workload, NamesTheLineOfATraceThatIsWrong) {
  const char* good = "{\"timestamp\": 0, \"input_length\": 1, \"output_length\": 1}\n";
  for (const char* bad : {"[]", "{\"timestamp\": -1, \"input_length\": 1, \"output_length\": 1}",
                          "{\"timestamp\": 0, \"input_length\": 0, \"output_length\": 1}",
                          "{\"timestamp\": 0, \"input_length\": 1}", "{"}) {
    const auto trace = ParseTrace(std::string(good) + bad);
    ASSERT_TRUE(absl::IsInvalidArgument(trace.status())) << bad;
    EXPECT_TRUE(absl::StrContains(trace.status().message(), "line 2")) << trace.status();
  }
  EXPECT_TRUE(absl::IsInvalidArgument(ParseTrace("").status()));
}

}  // namespace
}  // namespace baton::simulate
