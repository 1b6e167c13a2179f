// A paged cache with random contents for tests of attention, and how close results must be.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "kernels/api/attention.h"
#include "tests/conformance/kernels/tensors.h"

namespace baton::kernels {

struct AttentionSizes {
  int64_t heads = 2;
  int64_t latent_dims = 64;
  int64_t rope_dims = 16;
};

// A cache with sequences whose blocks lie in shuffled order; unused slots hold NaN.
class AttentionCache {
 public:
  AttentionCache(Random& random, const AttentionSizes& sizes, DataType type,
                 std::vector<int32_t> lengths)
      : lengths_(std::move(lengths)) {
    for (int32_t length : lengths_) {
      max_blocks_ = std::max<int64_t>(max_blocks_, (length + kBlockTokens - 1) / kBlockTokens);
    }
    const int64_t num_blocks = max_blocks_ * static_cast<int64_t>(lengths_.size()) + 1;
    for (int32_t block = 0; block < num_blocks; ++block) tables_.push_back(block);
    std::shuffle(tables_.begin(), tables_.end(), random);
    const int64_t width = sizes.latent_dims + sizes.rope_dims;
    memory_ = RandomTensor(random, type, num_blocks * kBlockTokens, width);
    pages = {memory_.view, sizes.latent_dims, sizes.rope_dims};
    for (size_t s = 0; s < lengths_.size(); ++s) {
      for (int64_t position = lengths_[s]; position < max_blocks_ * kBlockTokens; ++position) {
        const int64_t block = tables_[s * max_blocks_ + position / kBlockTokens];
        for (int64_t c = 0; c < width; ++c) {
          Put(memory_.view, block * kBlockTokens + position % kBlockTokens, c,
              std::numeric_limits<float>::quiet_NaN());
        }
      }
    }
  }

  StepLayout Layout(const std::vector<int32_t>& positions,
                    const std::vector<int32_t>& sequences) const {
    return {positions, sequences, tables_, max_blocks_};
  }

  KvPages pages;

 private:
  std::vector<int32_t> lengths_;
  std::vector<int32_t> tables_;
  int64_t max_blocks_ = 0;
  Tensor memory_;
};

// The tolerance of kernels/api/attention.h.
inline void ExpectCloseAttention(const TensorView& actual, const TensorView& expected) {
  if (expected.type == DataType::kFloat32) {
    EXPECT_LE(RelativeL2(actual, expected), 1e-5);
    return;
  }
  for (int64_t r = 0; r < expected.rows; ++r) {
    float largest = 0.0f;
    for (int64_t c = 0; c < expected.columns; ++c) {
      largest = std::max(largest, std::abs(Get(expected, r, c)));
    }
    for (int64_t c = 0; c < expected.columns; ++c) {
      ASSERT_NEAR(Get(actual, r, c), Get(expected, r, c), largest * 0.01f) << r << ", " << c;
    }
  }
}

}  // namespace baton::kernels
