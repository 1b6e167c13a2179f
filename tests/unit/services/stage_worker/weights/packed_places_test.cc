// Weights given out as bytes and taken up by another store.
#include <cstring>
#include <functional>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/tensor/aligned_buffer.h"
#include "kernels/cpu/cpu_backend.h"
#include "services/stage_worker/weights/weight_store.h"
#include "tests/fakes/compact_weights.h"
#include "tests/fakes/memory_checkpoint.h"
#include "tests/fakes/toy_model.h"

namespace baton::stage {
namespace {

using PlaceKind = PlacedBytes::Kind;
using testing::HasSubstr;

struct PlacesCase {
  std::string name;
  std::function<void(WeightStoreOptions&)> change;
};

void PrintTo(const PlacesCase& places, std::ostream* out) { *out << places.name; }

WeightStoreOptions ToyOptions() {
  WeightStoreOptions options;
  options.config = fakes::ToyConfig();
  options.stage = {0, 3, true, true};
  options.num_ranks = 2;
  options.num_local_ranks = 2;
  options.expand_prompts = true;
  return options;
}

// Copies of the images, aligned as adopted ones must be.
struct CopiedBytes {
  explicit CopiedBytes(const std::vector<PlacedBytes>& from) : placed(from) {
    for (PlacedBytes& each : placed) {
      for (std::span<const std::byte>& piece : each.image.pieces) {
        auto memory = std::make_shared<AlignedBuffer>(piece.size());
        if (!piece.empty()) std::memcpy(memory->data(), piece.data(), piece.size());
        piece = std::as_bytes(memory->span()).first(piece.size());
        memories->push_back(std::move(memory));
      }
    }
  }

  std::vector<PlacedBytes> placed;
  std::shared_ptr<std::vector<std::shared_ptr<AlignedBuffer>>> memories =
      std::make_shared<std::vector<std::shared_ptr<AlignedBuffer>>>();
};

std::vector<std::byte> BytesOf(const std::vector<PlacedBytes>& placed) {
  std::vector<std::byte> bytes;
  for (const PlacedBytes& each : placed) {
    for (const auto& piece : each.image.pieces) {
      bytes.insert(bytes.end(), piece.begin(), piece.end());
    }
  }
  return bytes;
}

class PackedPlaces : public testing::Test {
 protected:
  PackedPlaces() : team_(*(*kernels::CreateCpuBackend({}))->CreateTeam(1, 1)) {}

  std::unique_ptr<WeightStore> Make(const WeightStoreOptions& options) {
    return *WeightStore::Create(options, team_.devices[0].ops.get());
  }
  std::unique_ptr<WeightStore> MakeFilled(const WeightStoreOptions& options) {
    std::unique_ptr<WeightStore> store = Make(options);
    EXPECT_TRUE(fakes::RandomCheckpoint(options.config, 1).Fill(*store).ok());
    return store;
  }

  kernels::Team team_;
};

class PackedPlacesOf : public PackedPlaces, public testing::WithParamInterface<PlacesCase> {};

TEST_P(PackedPlacesOf, GoIntoAnotherStore) {
  WeightStoreOptions options = ToyOptions();
  GetParam().change(options);
  const auto store = MakeFilled(options);
  const auto placed = store->ExportPlaced();
  ASSERT_TRUE(placed.ok()) << placed.status();
  CopiedBytes copy(*placed);
  const auto adopted = Make(options);
  EXPECT_EQ(adopted->places_digest(), store->places_digest());
  const absl::Status status = adopted->Adopt(copy.placed, copy.memories);
  ASSERT_TRUE(status.ok()) << status;
  copy.memories = nullptr;  // the store keeps it
  EXPECT_TRUE(adopted->Finish().ok());
  EXPECT_EQ(adopted->received_bytes(), adopted->total_bytes());
  EXPECT_EQ(adopted->resident_bytes(), store->resident_bytes());
  EXPECT_EQ(BytesOf(*adopted->ExportPlaced()), BytesOf(*placed));
  const LayerShard& shard = adopted->weights().layers[1].ranks.back();
  EXPECT_EQ(shard.attention.w_uk_heads.back(), shard.attention.w_uk.back().get());
  EXPECT_EQ(shard.attention.w_uv_heads.back(), shard.attention.w_uv.back().get());
  EXPECT_EQ(shard.expert_views[7].down, shard.experts[7].down.get());
  EXPECT_EQ(adopted->Adopt(copy.placed, nullptr).code(), absl::StatusCode::kFailedPrecondition);
}

INSTANTIATE_TEST_SUITE_P(
    Stages, PackedPlacesOf,
    testing::Values(
        PlacesCase{"whole", [](WeightStoreOptions&) {}},
        PlacesCase{"absorbed", [](WeightStoreOptions& o) { o.expand_prompts = false; }},
        PlacesCase{"middle",
                   [](WeightStoreOptions& o) {
                     o.stage = {1, 3, false, false};
                   }},
        PlacesCase{"second_device",
                   [](WeightStoreOptions& o) { o.first_rank = o.num_local_ranks = 1; }},
        PlacesCase{"float32", [](WeightStoreOptions& o) { o.compute_type = DataType::kFloat32; }},
        PlacesCase{"bfloat16", [](WeightStoreOptions& o) { o.config.fp8_weights = false; }},
        PlacesCase{"tied", [](WeightStoreOptions& o) { o.config.tie_word_embeddings = true; }},
        PlacesCase{"no_q_lora", [](WeightStoreOptions& o) { o.config.q_lora_rank = 0; }},
        PlacesCase{"no_shared", [](WeightStoreOptions& o) { o.config.num_shared_experts = 0; }},
        PlacesCase{"mtp",
                   [](WeightStoreOptions& o) {
                     o.config.num_mtp_layers = 1;
                     o.stage.has_mtp = true;
                   }}),
    [](const auto& places) { return places.param.name; });

TEST_F(PackedPlaces, AreRefusedWhereTheyAreNotThoseOfTheStore) {
  const auto store = MakeFilled(ToyOptions());
  const CopiedBytes copy(store->ExportPlaced().value());
  const auto filled = Make(ToyOptions());
  using Change = std::function<void(std::vector<PlacedBytes>&)>;
  const size_t last = copy.placed.size() - 1;
  ASSERT_EQ(copy.placed[0].kind, PlaceKind::kTable);
  ASSERT_EQ(copy.placed[last].kind, PlaceKind::kPacked);
  size_t empty = 0;
  while (copy.placed[empty].kind != PlaceKind::kEmpty) ++empty;
  const std::pair<Change, const char*> changes[] = {
      {[](auto& placed) { placed.pop_back(); }, "the device has"},
      {[](auto& placed) { placed.push_back(placed.back()); }, "the device has"},
      {[](auto& placed) { placed.back() = {}; }, "lm_head.weight: kind 0, not 1"},
      {[](auto& placed) { placed[0].kind = PlaceKind::kPacked; },
       "embed_tokens.weight: kind 1, not 2"},
      {[&](auto& placed) { placed[empty] = placed[last]; }, "kind 1, not 0"},
      {[](auto& placed) { ++placed.back().image.n; }, "lm_head.weight: 31 x 48, not 30 x 48"},
      {[](auto& placed) { placed.back().image.k -= 16; }, "lm_head.weight: 30 x 32, not 30 x 48"},
      {[](auto& placed) { placed[0].image.form[0] = 0; }, "the table's type is 0"},
      {[](auto& placed) {
         auto& piece = placed[0].image.pieces[0];
         piece = piece.first(piece.size() - 1);
       },
       "the table has 2879 bytes, not 2880"},
      {[](auto& placed) { placed[0].image.pieces.emplace_back(); }, "the table has 2 pieces"},
      {[](auto& placed) {
         auto& piece = placed.back().image.pieces[0];
         piece = piece.first(piece.size() - 64);
       },
       "lm_head.weight: packed weight of 30 x 48"},
  };
  for (const auto& [change, words] : changes) {
    std::vector<PlacedBytes> wrong = copy.placed;
    change(wrong);
    const absl::Status status = filled->Adopt(wrong, copy.memories);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << words;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
    EXPECT_EQ(filled->resident_bytes(), 0u);
    EXPECT_EQ(filled->received_bytes(), 0u);
  }
  // Nothing was taken: the store is filled as any other.
  ASSERT_TRUE(fakes::RandomCheckpoint(ToyOptions().config, 1).Fill(*filled).ok());
  EXPECT_EQ(BytesOf(*filled->ExportPlaced()), BytesOf(*store->ExportPlaced()));
}

// Panels of the head's later bands are not compact, and add to what the first one took.
TEST(CompactPlaces, GoIntoAnotherStoreThoughTheyCameInBands) {
  WeightStoreOptions options = ToyOptions();
  options.num_ranks = options.num_local_ranks = 1;
  fakes::MemoryCheckpoint checkpoint = fakes::RandomCheckpoint(options.config, 1);
  fakes::ScatterRows("lm_head.weight", 32, 28, &checkpoint);
  fakes::CompactDevice device;
  const auto make = [&](size_t band_bytes) {
    options.band_bytes = band_bytes;
    return *WeightStore::Create(options, device.ops());
  };
  const auto whole = make(options.band_bytes);
  const auto banded = make(size_t{16} * 48 * sizeof(BFloat16));
  ASSERT_TRUE(checkpoint.Fill(*whole).ok());
  ASSERT_TRUE(checkpoint.Fill(*banded).ok());
  ASSERT_EQ(banded->slices().size(), whole->slices().size() + 2 * 3);
  EXPECT_EQ(banded->resident_bytes(), whole->resident_bytes());
  const auto placed = banded->ExportPlaced();
  ASSERT_TRUE(placed.ok()) << placed.status();
  EXPECT_EQ(placed->back().image.pieces.size(), 4u);
  const CopiedBytes copy(*placed);
  EXPECT_EQ(BytesOf(copy.placed), BytesOf(*whole->ExportPlaced()));
  const auto adopted = make(options.band_bytes);
  ASSERT_TRUE(adopted->Adopt(copy.placed, copy.memories).ok());
  EXPECT_EQ(adopted->resident_bytes(), whole->resident_bytes());
  EXPECT_EQ(BytesOf(*adopted->ExportPlaced()), BytesOf(copy.placed));
}

TEST_F(PackedPlaces, HaveADigestOfNamesShapesAndTypes) {
  const std::string digest = Make(ToyOptions())->places_digest();
  EXPECT_EQ(digest.size(), 64u);
  WeightStoreOptions options = ToyOptions();
  options.config.fp8_weights = false;
  EXPECT_NE(Make(options)->places_digest(), digest);
  options = ToyOptions();
  options.config.vocab_size = 62;
  EXPECT_NE(Make(options)->places_digest(), digest);
  options = ToyOptions();
  options.expand_prompts = false;
  EXPECT_NE(Make(options)->places_digest(), digest);
}

TEST_F(PackedPlaces, AreNotGivenOutBeforeAllIsThere) {
  EXPECT_EQ(Make(ToyOptions())->ExportPlaced().status().code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace baton::stage
