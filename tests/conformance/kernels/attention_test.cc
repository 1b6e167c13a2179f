#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/conformance/kernels/attention_cache.h"
#include "tests/conformance/kernels/backends.h"
#include "tests/conformance/kernels/tensors.h"

namespace baton::kernels {
namespace {

constexpr DataType kAttentionComputeTypes[] = {DataType::kFloat32, DataType::kBFloat16};

class AttentionConformance : public ConformanceTest {
 protected:
  static MlaAttentionArgs Args(const AttentionSizes& sizes, const TensorView& q_latent,
                               const TensorView& q_rope, const StepLayout& layout,
                               const KvPages& cache, const TensorView& out) {
    MlaAttentionArgs args;
    args.q_latent = q_latent;
    args.q_rope = q_rope;
    args.heads = sizes.heads;
    args.scale = 0.13f;
    args.layout = layout;
    args.cache = cache;
    args.out = out;
    return args;
  }

  void CheckAgainstReference(const AttentionSizes& sizes, const std::vector<int32_t>& lengths) {
    for (DataType type : kAttentionComputeTypes) {
      Random random(static_cast<uint32_t>(lengths[0]));
      const AttentionCache cache(random, sizes, type, lengths);
      std::vector<int32_t> positions;
      std::vector<int32_t> sequences;
      for (size_t s = 0; s < lengths.size(); ++s) {
        positions.push_back(lengths[s] - 1);
        sequences.push_back(static_cast<int32_t>(s));
      }
      const int64_t rows = static_cast<int64_t>(lengths.size());
      const Tensor q_latent = RandomTensor(random, type, rows, sizes.heads * sizes.latent_dims);
      const Tensor q_rope = RandomTensor(random, type, rows, sizes.heads * sizes.rope_dims);
      Tensor expected(type, rows, sizes.heads * sizes.latent_dims);
      Tensor actual(type, rows, sizes.heads * sizes.latent_dims);
      const StepLayout layout = cache.Layout(positions, sequences);
      reference().MlaAttention(
          Args(sizes, q_latent.view, q_rope.view, layout, cache.pages, expected.view));
      ops().MlaAttention(Args(sizes, q_latent.view, q_rope.view, layout, cache.pages, actual.view));
      ExpectCloseAttention(actual.view, expected.view);
    }
  }
};

class AttentionAgainstReference : public AttentionConformance {};

TEST_P(AttentionAgainstReference, MatchesTheReferenceAtManyLengths) {
  CheckAgainstReference({}, {1, 2, 15, 16, 17, 63, 64, 65, 130});
}

TEST_P(AttentionAgainstReference, MatchesTheReferenceOverManySplits) {
  CheckAgainstReference({}, {511, 512, 513, 1024, 1500});
}

TEST_P(AttentionAgainstReference, MatchesTheReferenceForEveryNumberOfHeads) {
  for (int64_t heads : {1, 2, 3, 4, 5, 7, 8, 16}) CheckAgainstReference({heads, 64, 16}, {100, 30});
}

TEST_P(AttentionAgainstReference, MatchesTheReferenceAtOtherWidths) {
  for (int64_t latent : {16, 24, 100, 128, 512}) {
    CheckAgainstReference({2, latent, 64}, {90, 3});
    CheckAgainstReference({3, latent, 6}, {70, 5});
  }
}

TEST_P(AttentionConformance, ReadsStridedRotaryQueries) {
  const AttentionSizes sizes;
  Random random(3);
  const AttentionCache cache(random, sizes, DataType::kBFloat16, {40});
  const std::vector<int32_t> positions = {39};
  const std::vector<int32_t> sequences = {0};
  const Tensor q_latent = RandomTensor(random, DataType::kBFloat16, 1, 2 * 64);
  const Tensor q = RandomTensor(random, DataType::kBFloat16, 1, 2 * 48);  // [nope 32 | rope 16]
  Tensor outs[2] = {Tensor(DataType::kBFloat16, 1, 2 * 64), Tensor(DataType::kBFloat16, 1, 2 * 64)};
  Ops* devices[2] = {&reference(), &ops()};
  for (int d = 0; d < 2; ++d) {
    MlaAttentionArgs args = Args(sizes, q_latent.view, q.view.Columns(32, 64),
                                 cache.Layout(positions, sequences), cache.pages, outs[d].view);
    args.q_rope_head_stride = 48;
    devices[d]->MlaAttention(args);
  }
  ExpectCloseAttention(outs[1].view, outs[0].view);
}

TEST_P(AttentionConformance, GivesARowTheSameBitsAloneAndInAnyChunk) {
  const AttentionSizes sizes = {5, 64, 16};
  for (DataType type : kAttentionComputeTypes) {
    Random random(4);
    constexpr int32_t kLength = 600;
    const AttentionCache cache(random, sizes, type, {kLength, 200});
    std::vector<int32_t> positions;
    for (int32_t p = kLength - 90; p < kLength; ++p) positions.push_back(p);
    std::vector<int32_t> sequences(90, 0);
    positions.push_back(150);
    sequences.push_back(1);
    const Tensor q_latent = RandomTensor(random, type, 91, 5 * 64);
    const Tensor q_rope = RandomTensor(random, type, 91, 5 * 16);
    Tensor all(type, 91, 5 * 64);
    ops().MlaAttention(Args(sizes, q_latent.view, q_rope.view, cache.Layout(positions, sequences),
                            cache.pages, all.view));
    for (int64_t begin = 0; begin < 91; begin += 7) {
      const int64_t count = std::min<int64_t>(begin % 3 + 1, 91 - begin);
      const std::vector<int32_t> some_positions(positions.begin() + begin,
                                                positions.begin() + begin + count);
      const std::vector<int32_t> some_sequences(sequences.begin() + begin,
                                                sequences.begin() + begin + count);
      Tensor part(type, count, 5 * 64);
      ops().MlaAttention(
          Args(sizes, q_latent.view.Rows(begin, count), q_rope.view.Rows(begin, count),
               cache.Layout(some_positions, some_sequences), cache.pages, part.view));
      for (int64_t r = 0; r < count; ++r) {
        ASSERT_TRUE(SameBits(part.view, r, all.view, begin + r)) << "row " << begin + r;
      }
    }
  }
}

TEST_P(AttentionConformance, AHeadDoesNotDependOnTheOthers) {
  for (DataType type : kAttentionComputeTypes) {
    Random random(5);
    const AttentionCache cache(random, {}, type, {77});
    const std::vector<int32_t> positions = {76};
    const std::vector<int32_t> sequences = {0};
    const Tensor q_latent = RandomTensor(random, type, 1, 6 * 64);
    const Tensor q_rope = RandomTensor(random, type, 1, 6 * 16);
    const StepLayout layout = cache.Layout(positions, sequences);
    Tensor all(type, 1, 6 * 64);
    ops().MlaAttention(
        Args({6, 64, 16}, q_latent.view, q_rope.view, layout, cache.pages, all.view));
    for (int64_t head = 0; head < 6; ++head) {
      Tensor one(type, 1, 64);
      ops().MlaAttention(Args({1, 64, 16}, q_latent.view.Columns(head * 64, 64),
                              q_rope.view.Columns(head * 16, 16), layout, cache.pages, one.view));
      EXPECT_TRUE(SameBits(one.view, 0, all.view.Columns(head * 64, 64), 0)) << "head " << head;
    }
  }
}

// Queries of a call: few, one vector of sixteen and less than two; an odd width, odd latents.
TEST_P(AttentionConformance, AHeadHasTheSameBitsAmongAnyNumberOfHeads) {
  constexpr int64_t kLatent = 100;
  constexpr int64_t kRope = 5;
  constexpr int64_t kMostHeads = 33;
  for (DataType type : kAttentionComputeTypes) {
    Random random(15);
    const AttentionCache cache(random, {1, kLatent, kRope}, type, {531});
    const std::vector<int32_t> positions = {530};
    const std::vector<int32_t> sequences = {0};
    const Tensor q_latent = RandomTensor(random, type, 1, kMostHeads * kLatent);
    const Tensor q_rope = RandomTensor(random, type, 1, kMostHeads * kRope);
    const StepLayout layout = cache.Layout(positions, sequences);
    const auto attend = [&](int64_t first, int64_t heads) {
      Tensor out(type, 1, heads * kLatent);
      ops().MlaAttention(
          Args({heads, kLatent, kRope}, q_latent.view.Columns(first * kLatent, heads * kLatent),
               q_rope.view.Columns(first * kRope, heads * kRope), layout, cache.pages, out.view));
      return out;
    };
    const Tensor all = attend(0, kMostHeads);
    for (int64_t heads : {1, 2, 8, 9, 16, 17, 31}) {
      for (int64_t first = 0; first + heads <= kMostHeads; first += heads) {
        const Tensor some = attend(first, heads);
        EXPECT_TRUE(SameBits(some.view, 0, all.view.Columns(first * kLatent, heads * kLatent), 0))
            << heads << " heads from " << first;
      }
    }
  }
}

// Rows of many lengths share a call when a rank has one head; they cross a page and a split.
TEST_P(AttentionConformance, ARowHasTheSameBitsAmongRowsOfOtherLengths) {
  const AttentionSizes sizes = {1, 64, 16};
  for (DataType type : kAttentionComputeTypes) {
    Random random(16);
    const AttentionCache cache(random, sizes, type, {640});
    std::vector<int32_t> positions;
    for (int32_t position = 0; position < 130; ++position) positions.push_back(position);
    for (int32_t position = 450; position < 600; ++position) positions.push_back(position);
    const int64_t rows = static_cast<int64_t>(positions.size());
    const std::vector<int32_t> sequences(rows, 0);
    const Tensor q_latent = RandomTensor(random, type, rows, 64);
    const Tensor q_rope = RandomTensor(random, type, rows, 16);
    Tensor all(type, rows, 64);
    ops().MlaAttention(Args(sizes, q_latent.view, q_rope.view, cache.Layout(positions, sequences),
                            cache.pages, all.view));
    for (int64_t row = 0; row < rows; row += 3) {
      const std::vector<int32_t> position = {positions[row]};
      const std::vector<int32_t> sequence = {0};
      Tensor alone(type, 1, 64);
      ops().MlaAttention(Args(sizes, q_latent.view.Rows(row, 1), q_rope.view.Rows(row, 1),
                              cache.Layout(position, sequence), cache.pages, alone.view));
      ASSERT_TRUE(SameBits(alone.view, 0, all.view, row)) << "position " << positions[row];
    }
  }
}

TEST_P(AttentionConformance, KvWritePutsRowsWhereTheirPositionsAreAndTouchesNothingElse) {
  for (DataType type : kAttentionComputeTypes) {
    Random random(6);
    const AttentionCache cache(random, {}, type, {128, 128});
    const std::vector<int32_t> positions = {63, 64, 5};
    const std::vector<int32_t> sequences = {0, 0, 1};
    const Tensor latent = RandomTensor(random, type, 3, 64, 1.0f, 7);
    const Tensor rope_key = RandomTensor(random, type, 3, 16);
    const StepLayout layout = cache.Layout(positions, sequences);
    const TensorView& pages = cache.pages.pages;
    const Tensor before = BytesOf(pages);
    ops().KvWrite({latent.view, rope_key.view, layout, cache.pages});
    std::vector<int64_t> written;
    for (int64_t t = 0; t < 3; ++t) {
      const int32_t block =
          layout.block_tables[sequences[t] * layout.max_blocks + positions[t] / kBlockTokens];
      written.push_back(block * kBlockTokens + positions[t] % kBlockTokens);
      EXPECT_TRUE(SameBits(pages.Columns(0, 64), written.back(), latent.view, t));
      EXPECT_TRUE(SameBits(pages.Columns(64, 16), written.back(), rope_key.view, t));
    }
    // Other slots of these pages, other pages, and the spare one that is no sequence's.
    for (int64_t row = 0; row < pages.rows; ++row) {
      if (std::find(written.begin(), written.end(), row) != written.end()) continue;
      EXPECT_TRUE(SameBits(pages, row, before.view, row)) << "row " << row << " was written to";
    }
  }
}

TEST_P(AttentionConformance, KvWriteTurnsTheRotaryKeyBitForBitAsRopeDoes) {
  for (DataType type : kAttentionComputeTypes) {
    Random random(9);
    const AttentionCache at_once(random, {}, type, {128, 128});
    const Tensor before = CopyOf(at_once.pages.pages);
    const std::vector<int32_t> positions = {0, 63, 64, 127, 5, 0};
    const std::vector<int32_t> sequences = {0, 0, 0, 0, 1, -1};
    const Tensor latent = RandomTensor(random, type, 6, 64, 1.0f, 7);
    const Tensor rope_key = RandomTensor(random, type, 6, 16, 3.0f, 5);
    const Tensor table = RandomTensor(random, DataType::kFloat32, 128, 16, 1.0f, 2);
    const StepLayout layout = at_once.Layout(positions, sequences);
    const Tensor key = CopyOf(rope_key.view);
    ops().KvWrite({latent.view, key.view, layout, at_once.pages, table.view});
    EXPECT_TRUE(SameBits(key.view, rope_key.view)) << "the key itself was turned";

    Tensor one_by_one = CopyOf(before.view);
    ops().Rope({key.view, 1, 16, 16, positions, table.view});
    ops().KvWrite({latent.view, key.view, layout, {one_by_one.view, 64, 16}});
    EXPECT_TRUE(SameBits(at_once.pages.pages, one_by_one.view));
    EXPECT_FALSE(SameBits(one_by_one.view, before.view));

    Tensor expected = CopyOf(before.view);
    reference().KvWrite({latent.view, rope_key.view, layout, {expected.view, 64, 16}, table.view});
    EXPECT_TRUE(SameBits(at_once.pages.pages, expected.view));
  }
}

TEST_P(AttentionConformance, RowsOfPaddingTouchNoCacheAndNoOtherRow) {
  for (DataType type : kAttentionComputeTypes) {
    Random random(8);
    const AttentionCache cache(random, {}, type, {70, 600});
    const std::vector<int32_t> positions = {68, 69, 0, 599, 0, 0};
    const std::vector<int32_t> sequences = {0, 0, -1, 1, -1, -1};
    const std::vector<int64_t> own = {0, 1, 3};
    const Tensor q_latent = RandomTensor(random, type, 6, 2 * 64);
    const Tensor q_rope = RandomTensor(random, type, 6, 2 * 16);
    for (int64_t c = 0; c < 2 * 64; ++c) {
      Put(q_latent.view, 4, c, std::numeric_limits<float>::quiet_NaN());
    }
    const StepLayout layout = cache.Layout(positions, sequences);
    const Tensor before = BytesOf(cache.pages.pages);
    ops().KvWrite({q_latent.view.Rows(4, 2).Columns(0, 64),
                   q_rope.view.Rows(4, 2).Columns(0, 16),
                   {layout.positions.subspan(4), layout.sequence_rows.subspan(4),
                    layout.block_tables, layout.max_blocks},
                   cache.pages});
    for (int64_t row = 0; row < cache.pages.pages.rows; ++row) {
      ASSERT_TRUE(SameBits(cache.pages.pages, row, before.view, row)) << "row " << row;
    }
    Tensor padded(type, 6, 2 * 64);
    ops().MlaAttention(Args({}, q_latent.view, q_rope.view, layout, cache.pages, padded.view));
    for (const int64_t row : own) {
      Tensor alone(type, 1, 2 * 64);
      const std::vector<int32_t> position = {positions[row]};
      const std::vector<int32_t> sequence = {sequences[row]};
      ops().MlaAttention(Args({}, q_latent.view.Rows(row, 1), q_rope.view.Rows(row, 1),
                              cache.Layout(position, sequence), cache.pages, alone.view));
      EXPECT_TRUE(SameBits(alone.view, 0, padded.view, row)) << "row " << row;
    }
  }
}

TEST_P(AttentionConformance, EqualScoresGiveTheMeanOfTheLatents) {
  Tensor pages(DataType::kFloat32, kBlockTokens, 20);
  for (int64_t row = 0; row < kBlockTokens; ++row) {
    for (int64_t c = 0; c < 16; ++c) Put(pages.view, row, c, static_cast<float>(row));
  }
  const std::vector<int32_t> positions = {10};
  const std::vector<int32_t> sequences = {0};
  const std::vector<int32_t> table = {0};
  const Tensor q_latent(DataType::kFloat32, 1, 16);  // zeros: all scores are 0
  const Tensor q_rope(DataType::kFloat32, 1, 4);
  Tensor out(DataType::kFloat32, 1, 16);
  ops().MlaAttention(Args({1, 16, 4}, q_latent.view, q_rope.view, {positions, sequences, table, 1},
                          {pages.view, 16, 4}, out.view));
  for (int64_t c = 0; c < 16; ++c) EXPECT_NEAR(Get(out.view, 0, c), 5.0f, 1e-5f);
}

TEST_P(AttentionConformance, NoRowsAreNoWork) {
  const Tensor pages(DataType::kFloat32, kBlockTokens, 80);
  const Tensor q_latent(DataType::kFloat32, 0, 128);
  const Tensor q_rope(DataType::kFloat32, 0, 32);
  ops().MlaAttention(Args({}, q_latent.view, q_rope.view, {}, {pages.view, 64, 16}, q_latent.view));
}

BATON_CONFORMANCE_TESTS(AttentionConformance);
BATON_COMPARISON_TESTS(AttentionAgainstReference);

}  // namespace
}  // namespace baton::kernels
