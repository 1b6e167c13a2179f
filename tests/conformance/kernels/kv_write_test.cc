// Writes to the cache at the widths of DeepSeek-R1 and at odd ones: the same bits as the
// reference's in every slot, those included that nobody writes to.
#include <algorithm>
#include <limits>
#include <vector>

#include "tests/conformance/kernels/backends.h"
#include "tests/conformance/kernels/tensors.h"

namespace baton::kernels {
namespace {

constexpr DataType kKvWriteTypes[] = {DataType::kFloat32, DataType::kBFloat16};
constexpr int32_t kKvWriteBlocks = 8;  // of each of two sequences, and one that is nobody's

// Rows of two sequences: half from position 61 of the first on, which crosses a page, the others
// from position 0 of the second, and a row of padding behind them.
struct WrittenRows {
  explicit WrittenRows(Random& random, int32_t num_rows) {
    for (int32_t row = 0; row < num_rows; ++row) {
      const int32_t half = num_rows / 2;
      positions.push_back(row < half ? 61 + row : row - half);
      sequences.push_back(row < half ? 0 : 1);
    }
    positions.push_back(0);
    sequences.push_back(-1);
    for (int32_t block = 0; block < 2 * kKvWriteBlocks + 1; ++block) tables.push_back(block);
    std::shuffle(tables.begin(), tables.end(), random);
  }
  int64_t rows() const { return static_cast<int64_t>(positions.size()); }
  StepLayout layout() const { return {positions, sequences, tables, kKvWriteBlocks}; }

  std::vector<int32_t> positions;
  std::vector<int32_t> sequences;
  std::vector<int32_t> tables;
};

class KvWriteConformance : public ConformanceTest {
 protected:
  void CheckAgainstReference(int64_t latent_dims, int64_t rope_dims, int32_t num_rows) {
    for (DataType type : kKvWriteTypes) {
      Random random(static_cast<uint32_t>(latent_dims * 100 + rope_dims));
      const WrittenRows written(random, num_rows);
      const Tensor latent = RandomTensor(random, type, written.rows(), latent_dims, 1.0f, 7);
      const Tensor rope_key = RandomTensor(random, type, written.rows(), rope_dims, 3.0f, 5);
      const Tensor table = RandomTensor(random, DataType::kFloat32, kKvWriteBlocks * kBlockTokens,
                                        rope_dims, 1.0f, 2);
      const Tensor before = RandomTensor(random, type, (2 * kKvWriteBlocks + 1) * kBlockTokens,
                                         latent_dims + rope_dims, 1.0f);
      for (const TensorView& rotary_table : {TensorView{}, table.view}) {
        const Tensor expected = BytesOf(before.view);
        const Tensor actual = BytesOf(before.view);
        reference().KvWrite({latent.view,
                             rope_key.view,
                             written.layout(),
                             {expected.view, latent_dims, rope_dims},
                             rotary_table});
        ops().KvWrite({latent.view,
                       rope_key.view,
                       written.layout(),
                       {actual.view, latent_dims, rope_dims},
                       rotary_table});
        EXPECT_TRUE(SameBits(actual.view, expected.view))
            << latent_dims << " + " << rope_dims << ", " << num_rows << " rows in " << Name(type)
            << (rotary_table.data == nullptr ? "" : ", turned");
        ASSERT_FALSE(SameBits(expected.view, before.view));
        // What the reference writes is what it was given.
        const int64_t slot = int64_t{written.tables[0]} * kBlockTokens + 61;
        EXPECT_TRUE(SameBits(expected.view.Columns(0, latent_dims), slot, latent.view, 0));
        EXPECT_EQ(SameBits(expected.view.Columns(latent_dims, rope_dims), slot, rope_key.view, 0),
                  rotary_table.data == nullptr);
      }
    }
  }
};

TEST_P(KvWriteConformance, HasTheReferencesBitsAtTheWidthsOfR1) {
  for (int32_t num_rows : {2, 3, 300}) CheckAgainstReference(512, 64, num_rows);
}

TEST_P(KvWriteConformance, HasTheReferencesBitsAtOddWidths) {
  for (int64_t latent_dims : {24, 100, 512}) {
    for (int64_t rope_dims : {2, 6, 64}) {
      for (int32_t num_rows : {2, 17}) CheckAgainstReference(latent_dims, rope_dims, num_rows);
    }
  }
}

BATON_CONFORMANCE_TESTS(KvWriteConformance);

}  // namespace
}  // namespace baton::kernels
