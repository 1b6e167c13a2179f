// Launches walked through on the host, and the shapes that they are walked with.
#pragma once

#include <cstdint>
#include <vector>

#include "gtest/gtest.h"

#include "kernels/cuda/plan/launch_shape.h"
#include "kernels/cuda/plan/launch_thread.h"

namespace baton::kernels::cuda {

// What the kernels' shapes follow from.
struct ModelShape {
  const char* name;
  int64_t hidden;
  int64_t q_lora;
  int64_t kv_lora;
  int64_t rope;
  int64_t heads;  // of all ranks
  int64_t head_stride;
  int64_t dense_width;   // of all ranks
  int64_t expert_width;  // of all ranks
  int64_t experts;
  int64_t groups;
  int64_t kept_groups;
  int64_t top_k;
  int64_t vocabulary;  // of all ranks
  int64_t ranks;
};

inline constexpr ModelShape kModelShapes[] = {
    {"DeepSeek-R1", 7168, 1536, 512, 64, 128, 192, 18432, 2048, 256, 8, 4, 8, 129280, 8},
    {"DeepSeek-R1 on one rank", 7168, 1536, 512, 64, 128, 192, 18432, 2048, 256, 8, 4, 8, 129280,
     1},
    {"demo model", 256, 128, 64, 16, 8, 48, 1024, 128, 16, 4, 2, 4, 2048, 1},
    {"demo model, 8 ranks", 256, 128, 64, 16, 8, 48, 1024, 128, 16, 4, 2, 4, 2048, 8},
};

// Steps' sizes: decoding, odd ones, prefill, and far more than a step has.
inline constexpr int64_t kStepTokens[] = {1,   2,   3,    7,    8,    16,   31,   63,   64,     65,
                                          127, 128, 1000, 1024, 2047, 2048, 8191, 8192, 1000000};

inline void ExpectFits(const char* kernel, const LaunchShape& shape) {
  EXPECT_TRUE(CheckLaunch(kernel, shape, kAnyDevice).ok())
      << CheckLaunch(kernel, shape, kAnyDevice).message();
}

// visit(thread) for every thread of the launch.
template <typename Visit>
void ForEachThread(const LaunchShape& shape, const Visit& visit) {
  LaunchThread thread;
  for (thread.block_z = 0; thread.block_z < shape.grid_z; ++thread.block_z) {
    for (thread.block_y = 0; thread.block_y < shape.grid_y; ++thread.block_y) {
      for (thread.block_x = 0; thread.block_x < shape.grid_x; ++thread.block_x) {
        for (thread.index = 0; thread.index < shape.block; ++thread.index) visit(thread);
      }
    }
  }
}

// How often each of so many elements was taken.
class Visits {
 public:
  explicit Visits(int64_t size) : counts_(static_cast<size_t>(size)) {}

  void Add(int64_t index) {
    ASSERT_GE(index, 0);
    ASSERT_LT(index, static_cast<int64_t>(counts_.size()));
    ++counts_[static_cast<size_t>(index)];
  }
  void ExpectOnceEach(const char* what) const {
    for (size_t i = 0; i < counts_.size(); ++i) {
      ASSERT_EQ(counts_[i], 1) << what << ": element " << i << " of " << counts_.size();
    }
  }

 private:
  std::vector<int> counts_;
};

}  // namespace baton::kernels::cuda
