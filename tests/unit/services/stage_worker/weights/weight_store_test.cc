#include "services/stage_worker/weights/weight_store.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "kernels/reference/reference_backend.h"
#include "tests/fakes/memory_checkpoint.h"
#include "tests/fakes/toy_model.h"

namespace baton::stage {
namespace {

using testing::HasSubstr;

class WeightStoreTest : public testing::Test {
 protected:
  WeightStoreTest() : config_(fakes::ToyConfig()) {
    team_ = *kernels::CreateReferenceBackend()->CreateTeam(1, 1);
  }
  kernels::Ops* ops() { return team_.devices[0].ops.get(); }
  WeightStoreOptions Options(int num_ranks, int first_rank, int num_local_ranks) const {
    WeightStoreOptions options;
    options.config = config_;
    options.stage = {0, 2, true, false};
    options.num_ranks = num_ranks;
    options.first_rank = first_rank;
    options.num_local_ranks = num_local_ranks;
    options.compute_type = DataType::kFloat32;
    return options;
  }
  std::unique_ptr<WeightStore> Make(int num_ranks, int first_rank, int num_local_ranks) {
    return *WeightStore::Create(Options(num_ranks, first_rank, num_local_ranks), ops());
  }
  static size_t IndexOf(const WeightStore& store, const std::string& name) {
    for (size_t i = 0; i < store.slices().size(); ++i) {
      if (store.slices()[i].spec.name == name) return i;
    }
    ADD_FAILURE() << "no slice " << name;
    return 0;
  }

  // The weight times a vector of which no two elements are alike.
  std::vector<float> Times(const kernels::PackedWeight& weight) {
    std::vector<float> x(static_cast<size_t>(weight.k()));
    for (size_t i = 0; i < x.size(); ++i) x[i] = 1.0f / static_cast<float>(i + 1);
    std::vector<float> out(static_cast<size_t>(weight.n()));
    ops()->Linear({View(x.data(), 1, weight.k()), &weight, View(out.data(), 1, weight.n())});
    return out;
  }

  ModelConfig config_;
  kernels::Team team_;
};

TEST_F(WeightStoreTest, AsksForReplicatedTensorsOnceAndForShardsPerRank) {
  const auto store = Make(6, 2, 3);
  int num_norms = 0;
  std::vector<int64_t> row_begins;
  for (const NeededSlice& needed : store->slices()) {
    if (needed.spec.name == "model.layers.0.input_layernorm.weight") ++num_norms;
    if (needed.spec.name == "model.embed_tokens.weight") {
      row_begins.push_back(needed.slice.row_begin);
      EXPECT_EQ(needed.slice.row_end - needed.slice.row_begin, 10);
    }
  }
  EXPECT_EQ(num_norms, 1);
  EXPECT_EQ(row_begins, (std::vector<int64_t>{20, 30, 40}));
}

TEST_F(WeightStoreTest, CoversTheStageAndNothingElse) {
  const auto store = Make(1, 0, 1);
  uint64_t bytes = 0;
  for (const NeededSlice& needed : store->slices()) {
    bytes += needed.bytes();
    EXPECT_FALSE(absl::StrContains(needed.spec.name, "layers.2.")) << needed.spec.name;
    EXPECT_NE(needed.spec.name, "lm_head.weight");
  }
  EXPECT_EQ(store->total_bytes(), bytes);
}

TEST_F(WeightStoreTest, PacksWhatIsCompleteAndFreesTheBytes) {
  const fakes::MemoryCheckpoint checkpoint = fakes::RandomCheckpoint(config_, 1);
  const auto store = Make(2, 0, 2);
  EXPECT_EQ(store->resident_bytes(), 0u);
  ASSERT_TRUE(checkpoint.Fill(*store).ok());
  EXPECT_EQ(store->received_bytes(), store->total_bytes());
  EXPECT_GT(store->resident_bytes(), 0u);
  const StageWeights& weights = store->weights();
  ASSERT_EQ(weights.layers.size(), 2u);
  ASSERT_EQ(weights.embedding.size(), 2u);
  EXPECT_EQ(weights.embedding[1].rows, 30);
  const LayerWeights& layer = weights.layers[1];
  EXPECT_EQ(layer.kv_a->n(), config_.kv_width());
  EXPECT_EQ(layer.ranks[1].attention.q->n(), 3 * config_.qk_head_dim());
  EXPECT_EQ(layer.ranks[1].attention.w_uk.size(), 3u);
  EXPECT_EQ(layer.ranks[0].experts.size(), 8u);
  EXPECT_EQ(layer.ranks[0].expert_views[7].down->k(), 18);
  EXPECT_EQ(weights.layers[0].router, nullptr);
  EXPECT_EQ(weights.layers[0].ranks[0].dense.up->n(), 36);
}

TEST_F(WeightStoreTest, TakesTablesOfTheVocabularyInBandsThatMakeTheSameWeights) {
  const fakes::MemoryCheckpoint checkpoint = fakes::RandomCheckpoint(config_, 1);
  WeightStoreOptions options = Options(2, 1, 1);
  options.stage = {0, 1, true, true};
  const auto whole = *WeightStore::Create(options, ops());
  options.band_bytes = static_cast<size_t>(7 * config_.hidden_size) * sizeof(BFloat16);
  const auto banded = *WeightStore::Create(options, ops());
  std::vector<int64_t> row_begins;
  for (const NeededSlice& needed : banded->slices()) {
    if (needed.spec.name != "lm_head.weight") continue;
    EXPECT_LE(needed.bytes(), options.band_bytes);
    row_begins.push_back(needed.slice.row_begin);
  }
  EXPECT_EQ(row_begins, (std::vector<int64_t>{30, 37, 44, 51, 58}));
  EXPECT_EQ(banded->slices().size(), whole->slices().size() + 2 * 4);
  EXPECT_EQ(banded->total_bytes(), whole->total_bytes());
  ASSERT_TRUE(checkpoint.Fill(*whole).ok());
  ASSERT_TRUE(checkpoint.Fill(*banded).ok());
  EXPECT_EQ(banded->resident_bytes(), whole->resident_bytes());
  const TensorView& expected = whole->weights().embedding[0];
  const TensorView& table = banded->weights().embedding[0];
  ASSERT_EQ(table.rows, expected.rows);
  const size_t table_bytes = static_cast<size_t>(table.num_elements()) * sizeof(BFloat16);
  EXPECT_EQ(std::memcmp(table.data, expected.data, table_bytes), 0);
  EXPECT_EQ(Times(*banded->weights().head[0]), Times(*whole->weights().head[0]));
}

TEST_F(WeightStoreTest, GivesTheSameBytesUntilComplete) {
  const auto store = Make(1, 0, 1);
  const auto first = store->Destination(0);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first->size(), store->slices()[0].bytes());
  EXPECT_EQ(store->Destination(0)->data(), first->data());
  ASSERT_TRUE(store->MarkComplete(0).ok());
  EXPECT_EQ(store->Destination(0).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(store->MarkComplete(0).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(WeightStoreTest, RefusesSlicesThatItDoesNotHave) {
  const auto store = Make(1, 0, 1);
  const size_t end = store->slices().size();
  EXPECT_EQ(store->Destination(end).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(store->MarkComplete(end).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(store->MarkComplete(0).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(WeightStoreTest, NamesTheTensorThatIsMissing) {
  const auto store = Make(1, 0, 1);
  const absl::Status status = store->Finish();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("model.embed_tokens.weight"));
}

TEST_F(WeightStoreTest, RefusesScalesThatAreNotNumbers) {
  const std::string name = "model.layers.0.mlp.up_proj.weight_scale_inv";
  for (float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -1.0f}) {
    const auto store = Make(1, 0, 1);
    const size_t index = IndexOf(*store, name);
    const auto bytes = store->Destination(index);
    ASSERT_TRUE(bytes.ok());
    std::memcpy(bytes->data() + 4, &bad, sizeof(bad));
    const absl::Status status = store->MarkComplete(index);
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(status.message()), HasSubstr(name));
  }
}

TEST_F(WeightStoreTest, RefusesRanksOutsideTheStage) {
  EXPECT_EQ(WeightStore::Create(Options(2, 1, 2), ops()).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(WeightStore::Create(Options(4, 0, 1), ops()).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace baton::stage
