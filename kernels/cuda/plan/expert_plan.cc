#include "kernels/cuda/plan/expert_plan.h"

#include <algorithm>

namespace baton::kernels::cuda {

ExpertSchedule MakeExpertSchedule(const std::vector<int32_t>& experts, int top_k, int num_experts,
                                  bool shared, int width) {
  const int tokens = static_cast<int>(experts.size()) / top_k;
  const int slots = top_k + (shared ? 1 : 0);
  ExpertSchedule schedule;
  for (int expert = 0; expert < num_experts + (shared ? 1 : 0); ++expert) {
    const int begin = static_cast<int>(schedule.pair_of_row.size());
    for (int pair = 0; pair < tokens * slots; ++pair) {
      const int slot = pair % slots;
      const int chosen = slot == top_k ? num_experts : experts[pair / slots * top_k + slot];
      if (chosen == expert) schedule.pair_of_row.push_back(pair);
    }
    const int end = static_cast<int>(schedule.pair_of_row.size());
    for (int row = begin; row < end; row += width) {
      schedule.tiles.push_back({expert, row, std::min(width, end - row), 0});
    }
  }
  return schedule;
}

}  // namespace baton::kernels::cuda
