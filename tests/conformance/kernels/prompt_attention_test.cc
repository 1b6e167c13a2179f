#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "tests/conformance/kernels/attention_cache.h"
#include "tests/conformance/kernels/backends.h"
#include "tests/conformance/kernels/tensors.h"

namespace baton::kernels {
namespace {

constexpr DataType kPromptComputeTypes[] = {DataType::kFloat32, DataType::kBFloat16};
constexpr float kScale = 0.13f;

struct PromptSizes {
  int64_t heads = 2;
  int64_t nope_dims = 32;
  int64_t rope_dims = 16;
  int64_t value_dims = 32;
  int64_t latent_dims = 64;

  int64_t width() const { return nope_dims + rope_dims; }
};

// Rows [begin, end) of one sequence.
struct Chunk {
  int32_t sequence;  // -1: padding
  int32_t begin;
  int32_t end;
};

struct ChunkRows {
  explicit ChunkRows(const std::vector<Chunk>& chunks) {
    for (const Chunk& chunk : chunks) {
      for (int32_t position = chunk.begin; position < chunk.end; ++position) {
        positions.push_back(chunk.sequence < 0 ? 0 : position);
        sequences.push_back(chunk.sequence);
      }
    }
  }

  int64_t size() const { return static_cast<int64_t>(positions.size()); }

  std::vector<int32_t> positions;
  std::vector<int32_t> sequences;
};

// Weights of all heads, as one device packed them.
class HeadWeights {
 public:
  HeadWeights(Ops& ops, DataType type, const std::vector<Tensor>& matrices) {
    for (const Tensor& matrix : matrices) {
      packed_.push_back(ops.Pack({.values = matrix.view}, type));
      heads_.push_back(packed_.back().get());
    }
  }

  std::span<const PackedWeight* const> heads() const { return heads_; }

 private:
  std::vector<std::unique_ptr<PackedWeight>> packed_;
  std::vector<const PackedWeight*> heads_;
};

// Random sequences, queries and weights of one shape.
class PromptCase {
 public:
  PromptCase(const PromptSizes& sizes, DataType type, uint32_t seed,
             const std::vector<int32_t>& lengths, int64_t rows)
      : sizes_(sizes),
        type_(type),
        random_(seed),
        cache_(random_, {sizes.heads, sizes.latent_dims, sizes.rope_dims}, type, lengths),
        q_(RandomTensor(random_, type, rows, sizes.heads * sizes.width())) {
    const float deviation = 1.0f / std::sqrt(static_cast<float>(sizes.latent_dims));
    for (int64_t head = 0; head < sizes.heads; ++head) {
      keys_.push_back(RandomTensor(random_, type, sizes.nope_dims, sizes.latent_dims, deviation));
      values_.push_back(
          RandomTensor(random_, type, sizes.value_dims, sizes.latent_dims, deviation));
    }
  }

  const TensorView& q() const { return q_.view; }
  const AttentionCache& cache() const { return cache_; }
  const std::vector<Tensor>& keys() const { return keys_; }
  const std::vector<Tensor>& values() const { return values_; }

  // Rows [first, first + rows.size()) of q, at the places that `rows` names.
  Tensor Attend(Ops& ops, const ChunkRows& rows, int64_t first = 0) const {
    const HeadWeights keys(ops, type_, keys_);
    const HeadWeights values(ops, type_, values_);
    Tensor out(type_, rows.size(), sizes_.heads * sizes_.value_dims);
    MlaPromptAttentionArgs args;
    args.q = q_.view.Rows(first, rows.size());
    args.key_weights = keys.heads();
    args.value_weights = values.heads();
    args.scale = kScale;
    args.layout = cache_.Layout(rows.positions, rows.sequences);
    args.cache = cache_.pages;
    args.out = out.view;
    ops.MlaPromptAttention(args);
    return out;
  }

 private:
  const PromptSizes sizes_;
  const DataType type_;
  Random random_;
  const AttentionCache cache_;
  const Tensor q_;
  std::vector<Tensor> keys_;
  std::vector<Tensor> values_;
};

class PromptAttentionConformance : public ConformanceTest {
 protected:
  void SetUp() override {
    ConformanceTest::SetUp();
    if (!IsSkipped() && !MakeBackend()->expands_prompts())
      GTEST_SKIP() << "has the absorbed form alone";
  }

  void CheckAgainstReference(const PromptSizes& sizes, const std::vector<Chunk>& chunks) {
    std::vector<int32_t> lengths;
    for (const Chunk& chunk : chunks) lengths.push_back(chunk.end);
    const ChunkRows rows(chunks);
    for (DataType type : kPromptComputeTypes) {
      const PromptCase c(sizes, type, static_cast<uint32_t>(rows.size()), lengths, rows.size());
      const Tensor expected = c.Attend(reference(), rows);
      const Tensor actual = c.Attend(ops(), rows);
      ExpectCloseAttention(actual.view, expected.view);
    }
  }
};

class PromptAttentionAgainstReference : public PromptAttentionConformance {};

TEST_P(PromptAttentionAgainstReference, MatchesTheReferenceForWholePromptsAndChunks) {
  CheckAgainstReference({},
                        {{0, 0, 1}, {1, 0, 2}, {2, 0, 64}, {3, 3, 20}, {4, 63, 65}, {5, 0, 130}});
}

TEST_P(PromptAttentionAgainstReference, MatchesTheReferenceOverManySplits) {
  CheckAgainstReference({}, {{0, 500, 530}, {1, 1020, 1030}, {2, 0, 600}, {3, 1535, 1537}});
}

TEST_P(PromptAttentionAgainstReference, MatchesTheReferenceForEveryNumberOfHeads) {
  for (int64_t heads : {1, 2, 3, 5, 8, 16}) {
    CheckAgainstReference({.heads = heads}, {{0, 40, 100}, {1, 0, 9}});
  }
}

TEST_P(PromptAttentionAgainstReference, MatchesTheReferenceAtOtherWidths) {
  for (int64_t nope : {16, 24, 128}) {
    for (int64_t rope : {6, 64}) {
      for (int64_t value : {16, 40, 128}) {
        CheckAgainstReference({2, nope, rope, value, 64}, {{0, 50, 90}, {1, 0, 3}});
      }
    }
  }
  for (int64_t latent : {16, 24, 100, 512}) {
    CheckAgainstReference({2, 32, 16, 32, latent}, {{0, 50, 90}, {1, 0, 3}});
  }
}

// Three splits, the last one cut; widths that no vector divides, too.
TEST_P(PromptAttentionConformance, GivesARowTheSameBitsAloneAndInAnyChunk) {
  constexpr int32_t kLength = 1100;
  const PromptSizes odd = {3, 24, 6, 40, 100};
  for (const PromptSizes& sizes : {PromptSizes{.heads = 3}, odd}) {
    for (DataType type : kPromptComputeTypes) {
      const PromptCase c(sizes, type, 4, {kLength, 100}, kLength + 100);
      const Tensor all = c.Attend(ops(), ChunkRows({{0, 0, kLength}, {1, 0, 100}}));
      const auto check = [&](int32_t sequence, int32_t begin, int32_t end) {
        const int64_t first = (sequence == 0 ? 0 : kLength) + begin;
        const Tensor part = c.Attend(ops(), ChunkRows({{sequence, begin, end}}), first);
        for (int64_t r = 0; r < end - begin; ++r) {
          ASSERT_TRUE(SameBits(part.view, r, all.view, first + r)) << "row " << first + r;
        }
      };
      for (int32_t begin : {0, 1, 31, 64, 127, 511, 512, 1023, 1024, 1099}) {
        check(0, begin, begin + 1);
      }
      for (int32_t begin = 0; begin < kLength; begin += 128) {
        check(0, begin, std::min(begin + 128, kLength));
      }
      for (int32_t begin = 0; begin < 100; begin += 7) check(1, begin, std::min(begin + 7, 100));
      check(0, 90, 560);
      check(0, 505, 1030);
    }
  }
}

TEST_P(PromptAttentionConformance, PiecesOfASequenceMayStandInAnyOrder) {
  for (DataType type : kPromptComputeTypes) {
    const PromptCase c({}, type, 12, {700}, 700);
    const Tensor late = c.Attend(ops(), ChunkRows({{0, 600, 700}}), 0);
    const Tensor early = c.Attend(ops(), ChunkRows({{0, 3, 40}}), 100);
    const Tensor both = c.Attend(ops(), ChunkRows({{0, 600, 700}, {0, 3, 40}}));
    for (int64_t r = 0; r < 100; ++r) ASSERT_TRUE(SameBits(late.view, r, both.view, r)) << r;
    for (int64_t r = 0; r < 37; ++r) ASSERT_TRUE(SameBits(early.view, r, both.view, 100 + r)) << r;
  }
}

TEST_P(PromptAttentionConformance, RowsOfPaddingTouchNoOtherRow) {
  for (DataType type : kPromptComputeTypes) {
    const PromptCase c({}, type, 8, {70, 600}, 24);
    for (int64_t column = 0; column < c.q().columns; ++column) {
      for (int64_t row : {10, 11, 20}) {
        Put(c.q(), row, column, std::numeric_limits<float>::quiet_NaN());
      }
    }
    const ChunkRows rows({{0, 60, 70}, {-1, 0, 2}, {1, 592, 600}, {-1, 0, 4}});
    const Tensor padded = c.Attend(ops(), rows);
    const Tensor first = c.Attend(ops(), ChunkRows({{0, 60, 70}}), 0);
    const Tensor second = c.Attend(ops(), ChunkRows({{1, 592, 600}}), 12);
    for (int64_t r = 0; r < 10; ++r) EXPECT_TRUE(SameBits(first.view, r, padded.view, r)) << r;
    for (int64_t r = 0; r < 8; ++r) EXPECT_TRUE(SameBits(second.view, r, padded.view, 12 + r)) << r;
  }
}

TEST_P(PromptAttentionConformance, ReadsQueriesWithGapsBetweenHeads) {
  for (DataType type : kPromptComputeTypes) {
    const PromptSizes sizes;
    const PromptCase c(sizes, type, 9, {40}, 40);
    const ChunkRows rows({{0, 0, 40}});
    const Tensor dense = c.Attend(ops(), rows);
    const int64_t stride = sizes.width() + 5;
    Tensor spaced(type, 40, sizes.heads * stride);
    for (int64_t row = 0; row < 40; ++row) {
      for (int64_t column = 0; column < c.q().columns; ++column) {
        Put(spaced.view, row, column / sizes.width() * stride + column % sizes.width(),
            Get(c.q(), row, column));
      }
    }
    const HeadWeights keys(ops(), type, c.keys());
    const HeadWeights values(ops(), type, c.values());
    Tensor out(type, 40, sizes.heads * sizes.value_dims);
    ops().MlaPromptAttention({spaced.view, stride, keys.heads(), values.heads(), kScale,
                              c.cache().Layout(rows.positions, rows.sequences), c.cache().pages,
                              out.view});
    EXPECT_TRUE(SameBits(out.view, dense.view));
  }
}

// Both forms are one function: q_nope . (K latent) = (K^T q_nope) . latent.
TEST_P(PromptAttentionConformance, SaysWhatTheAbsorbedFormSays) {
  const PromptSizes sizes;
  constexpr DataType kType = DataType::kFloat32;
  const PromptCase c(sizes, kType, 10, {600}, 90);
  const ChunkRows rows({{0, 510, 600}});
  const Tensor expanded = c.Attend(ops(), rows);

  std::vector<Tensor> turned;
  for (const Tensor& key : c.keys()) {
    turned.emplace_back(kType, sizes.latent_dims, sizes.nope_dims);
    for (int64_t i = 0; i < sizes.latent_dims; ++i) {
      for (int64_t j = 0; j < sizes.nope_dims; ++j)
        Put(turned.back().view, i, j, Get(key.view, j, i));
    }
  }
  const HeadWeights queries(ops(), kType, turned);
  const HeadWeights values(ops(), kType, c.values());
  const Tensor q_latent(kType, 90, sizes.heads * sizes.latent_dims);
  const Tensor attended(kType, 90, sizes.heads * sizes.latent_dims);
  const Tensor absorbed(kType, 90, sizes.heads * sizes.value_dims);
  ops().HeadwiseLinear({c.q(), sizes.width(), queries.heads(), q_latent.view});
  const int64_t rope_columns = c.q().columns - sizes.nope_dims;
  ops().MlaAttention({q_latent.view, c.q().Columns(sizes.nope_dims, rope_columns), sizes.width(),
                      sizes.heads, kScale, c.cache().Layout(rows.positions, rows.sequences),
                      c.cache().pages, attended.view});
  ops().HeadwiseLinear({attended.view, 0, values.heads(), absorbed.view});
  ExpectCloseAttention(expanded.view, absorbed.view);
}

TEST_P(PromptAttentionConformance, TakesNoRows) {
  const PromptCase c({}, DataType::kBFloat16, 11, {64}, 1);
  EXPECT_TRUE(c.Attend(ops(), ChunkRows({})).view.empty());
}

BATON_CONFORMANCE_TESTS(PromptAttentionConformance);
BATON_COMPARISON_TESTS(PromptAttentionAgainstReference);

}  // namespace
}  // namespace baton::kernels
