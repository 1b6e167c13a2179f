#include "services/stage_worker/execution/draw_exchange.h"

#include <memory>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace baton::stage {
namespace {

DrawExchange::Draws OneDraw(uint32_t token) {
  return std::make_shared<std::vector<CountedDraw>>(std::vector<CountedDraw>{{0, token}});
}

TEST(DrawExchange, GivesEachDeviceWhatTheStepDrew) {
  DrawExchange exchange(3);
  std::vector<std::vector<uint32_t>> seen(2);
  std::vector<std::thread> devices;
  for (size_t device = 0; device < 2; ++device) {
    devices.emplace_back([&, device] {
      for (uint64_t step = 1; step <= 20; ++step) {
        seen[device].push_back(exchange.Ask(step)->front().token_id);
      }
    });
  }
  for (uint64_t step = 1; step <= 20; ++step) {
    exchange.Tell(step, OneDraw(static_cast<uint32_t>(100 + step)));
  }
  for (std::thread& device : devices) device.join();
  for (const std::vector<uint32_t>& tokens : seen) {
    ASSERT_EQ(tokens.size(), 20u);
    for (uint32_t i = 0; i < 20; ++i) EXPECT_EQ(tokens[i], 101 + i);
  }
}

TEST(DrawExchange, KeepsNothingWhereOneDeviceIsAlone) {
  DrawExchange exchange(1);
  const DrawExchange::Draws draws = OneDraw(5);
  exchange.Tell(1, draws);
  EXPECT_EQ(draws.use_count(), 1);
}

}  // namespace
}  // namespace baton::stage
