#include "tools/simulate/simulation.h"

#include "gtest/gtest.h"

namespace baton::simulate {
namespace {

SimulationOptions R1Group(uint32_t num_stages) {
  SimulationOptions options;
  options.num_blocks = 18671;
  options.stages = StageTimes(num_stages, 0.5);
  options.schedule.max_steps_in_flight = num_stages;
  options.schedule.lookahead_steps = 1;
  options.schedule.max_running = 1024;
  options.schedule.prefix_caching = false;
  options.schedule.max_waiting = 100000;
  options.schedule.max_model_len = 163840;
  options.schedule.vocab_size = 129280;
  options.schedule.step_cost = R1StepCost(num_stages);
  return options;
}

TEST(Simulation, AnswersEveryRequest) {
  const SimulationResult result =
      Simulate(R1Group(2), MakeWorkload({.num_requests = 40, .output_tokens = 20}));
  EXPECT_EQ(result.num_requests, 40u);
  EXPECT_EQ(result.num_refused, 0u);
  EXPECT_EQ(result.input_tokens, 40u * 1024);
  EXPECT_EQ(result.output_tokens, 40u * 20);
  EXPECT_EQ(result.ttft.size(), 40u);
  EXPECT_EQ(result.num_bursts, 1u);
  EXPECT_GT(result.peak_kv_used, result.mean_kv_used);
  EXPECT_LE(result.ttft.front(), result.ttft.back());
}

TEST(Simulation, CountsWhatIsRefused) {
  SimulationOptions options = R1Group(2);
  options.schedule.max_waiting = 10;
  const SimulationResult result = Simulate(options, MakeWorkload({.num_requests = 40}));
  EXPECT_GT(result.num_refused, 0u);
  EXPECT_EQ(result.ttft.size() + result.num_refused, 40u);
}

TEST(Simulation, ALoneRequestLeavesHalfOfThePipelineIdle) {
  SimulationOptions options = R1Group(2);
  options.wires = {.command = 0, .report = 0, .hop = 0, .hop_token = 0, .feedback = 0};
  const SimulationResult result =
      Simulate(options, {{.arrival = 0, .input_tokens = 100, .output_tokens = 500}});
  EXPECT_NEAR(result.decode.Bubble(), 0.5, 0.02);
}

// Steady decoding on two stages: at most 5 % over what filling and draining cost.
TEST(Simulation, SteadyDecodingKeepsTheStagesBusy) {
  for (const uint32_t batch : {64u, 128u, 256u}) {
    WorkloadOptions load{.num_requests = batch, .input_tokens = 2000, .output_tokens = 1000};
    load.input_spread = LengthSpread::kExponential;
    const SimulationResult result = Simulate(R1Group(2), MakeWorkload(load));
    EXPECT_LE(result.decode.Bubble(), result.IdealBubble() + 0.05) << batch << " sequences";
  }
}

// Sequences come and go: micro-batches that finishes made unequal become equal again.
TEST(Simulation, StaysBalancedWhileSequencesComeAndGo) {
  WorkloadOptions load{.num_requests = 600, .request_rate = 6, .input_tokens = 1500};
  load.output_tokens = 500;
  load.input_spread = LengthSpread::kExponential;
  load.output_spread = LengthSpread::kExponential;
  const SimulationResult result = Simulate(R1Group(2), MakeWorkload(load));
  EXPECT_LE(result.decode.Bubble(), 0.05);
}

}  // namespace
}  // namespace baton::simulate
