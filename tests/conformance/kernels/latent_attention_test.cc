// Attention at R1's widths, which kernels/cuda runs on kernels of its own.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

#include "tests/conformance/kernels/backends.h"
#include "tests/conformance/kernels/latent_attention_cases.h"
#include "tests/conformance/kernels/tensors.h"

namespace baton::kernels {
namespace {

constexpr int64_t kLatent = 512;
constexpr int64_t kRope = 64;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Sequences share the pages of their whole blocks, each in an order of its own. The last block is a
// sequence's own, NaN behind its end; tables name a page of NaN behind it.
class SharedPages {
 public:
  SharedPages(Random& random, const LatentAttentionCase& step) {
    std::vector<int32_t> last(step.sequences(), -1);
    for (int row = 0; row < step.rows(); ++row) {
      const int32_t sequence = step.sequence_rows[row];
      if (sequence >= 0) last[sequence] = std::max(last[sequence], step.positions[row]);
    }
    const int64_t longest = *std::max_element(last.begin(), last.end());
    const auto num_shared = static_cast<int32_t>(longest / kBlockTokens + 1);
    const auto num_sequences = static_cast<int32_t>(last.size());
    const int32_t no_page = num_shared + num_sequences;
    max_blocks_ = num_shared + 1;
    memory_ =
        RandomTensor(random, DataType::kBFloat16, (no_page + 1) * kBlockTokens, kLatent + kRope);
    pages = {memory_.view, kLatent, kRope};
    FillWithNan(no_page, 0);
    for (int32_t s = 0; s < num_sequences; ++s) {
      const auto whole = static_cast<int32_t>(last[s] / kBlockTokens);
      for (int32_t block = 0; block < max_blocks_; ++block) {
        tables_.push_back(block < whole    ? (block * 7 + s) % num_shared
                          : block == whole ? num_shared + s
                                           : no_page);
      }
      FillWithNan(num_shared + s, last[s] % kBlockTokens + 1);
    }
  }

  StepLayout Layout(std::span<const int32_t> positions, std::span<const int32_t> sequences) const {
    return {positions, sequences, tables_, max_blocks_};
  }

  KvPages pages;

 private:
  void FillWithNan(int64_t page, int64_t first) {
    for (int64_t token = first; token < kBlockTokens; ++token) {
      for (int64_t c = 0; c < kLatent + kRope; ++c) {
        Put(memory_.view, page * kBlockTokens + token, c, kNan);
      }
    }
  }

  std::vector<int32_t> tables_;
  int64_t max_blocks_ = 0;
  Tensor memory_;
};

// A step with its queries, and its results on any device.
class LatentStep {
 public:
  LatentStep(Random& random, const LatentAttentionCase& step)
      : step_(step),
        cache_(random, step),
        q_latent_(RandomTensor(random, DataType::kBFloat16, step.rows(), step.heads * kLatent)),
        q_rope_(RandomTensor(random, DataType::kBFloat16, step.rows(), step.heads * kRope)) {
    for (int64_t row = 0; row < step.rows(); ++row) {
      if (step.sequence_rows[row] >= 0) continue;
      for (int64_t c = 0; c < q_latent_.view.columns; ++c) Put(q_latent_.view, row, c, kNan);
      for (int64_t c = 0; c < q_rope_.view.columns; ++c) Put(q_rope_.view, row, c, kNan);
    }
  }

  // Rows begin .. begin + count - 1 in one call.
  Tensor Run(Ops& ops, int64_t begin, int64_t count) const {
    Tensor out(DataType::kBFloat16, count, step_.heads * kLatent);
    MlaAttentionArgs args;
    args.q_latent = q_latent_.view.Rows(begin, count);
    args.q_rope = q_rope_.view.Rows(begin, count);
    args.heads = step_.heads;
    args.scale = 0.13f;
    args.layout = cache_.Layout(std::span(step_.positions).subspan(begin, count),
                                std::span(step_.sequence_rows).subspan(begin, count));
    args.cache = cache_.pages;
    args.out = out.view;
    ops.MlaAttention(args);
    return out;
  }

 private:
  const LatentAttentionCase& step_;
  const SharedPages cache_;
  const Tensor q_latent_;
  const Tensor q_rope_;
};

// The tolerance of kernels/api/attention.h, of all rows but padding.
void ExpectCloseRows(const LatentAttentionCase& step, const TensorView& actual,
                     const TensorView& expected) {
  for (int64_t row = 0; row < step.rows(); ++row) {
    if (step.sequence_rows[row] < 0) continue;
    float largest = 0.0f;
    float worst = 0.0f;
    for (int64_t c = 0; c < expected.columns; ++c) {
      const float wanted = Get(expected, row, c);
      const float error = std::abs(Get(actual, row, c) - wanted);
      ASSERT_TRUE(std::isfinite(wanted) && std::isfinite(error)) << "row " << row << ", " << c;
      largest = std::max(largest, std::abs(wanted));
      worst = std::max(worst, error);
    }
    ASSERT_LE(worst, largest * 0.01f) << "row " << row;
  }
}

class LatentAttentionConformance : public ConformanceTest {
 protected:
  void ExpectCases(bool for_gpus) {
    for (const LatentAttentionCase& step : LatentAttentionCases()) {
      if (step.for_gpus != for_gpus) continue;
      SCOPED_TRACE(absl::StrCat(step.name, ", ", step.heads, " heads"));
      Random random(static_cast<uint32_t>(step.heads * 31 + step.rows()));
      const LatentStep queries(random, step);
      const Tensor expected = queries.Run(reference(), 0, step.rows());
      const Tensor actual = queries.Run(ops(), 0, step.rows());
      ExpectCloseRows(step, actual.view, expected.view);
      for (const int piece : step.pieces) ExpectSameInPieces(step, queries, piece, actual.view);
    }
  }

 private:
  void ExpectSameInPieces(const LatentAttentionCase& step, const LatentStep& queries, int piece,
                          const TensorView& whole) {
    for (int64_t begin = 0; begin < step.rows(); begin += piece) {
      const int64_t count = std::min<int64_t>(piece, step.rows() - begin);
      const Tensor part = queries.Run(ops(), begin, count);
      for (int64_t row = 0; row < count; ++row) {
        if (step.sequence_rows[begin + row] < 0) continue;
        ASSERT_TRUE(SameBits(part.view, row, whole, begin + row))
            << "row " << begin + row << " in pieces of " << piece;
      }
    }
  }
};

TEST_P(LatentAttentionConformance, MatchesTheReferenceAndItselfInPieces) { ExpectCases(false); }

TEST_P(LatentAttentionConformance, MatchesTheReferenceAndItselfOnLargeSteps) {
  if (!GetParam().on_gpu || GetParam().through_nccl) GTEST_SKIP() << "too much for a CPU";
  ExpectCases(true);
}

BATON_CONFORMANCE_TESTS(LatentAttentionConformance);

}  // namespace
}  // namespace baton::kernels
