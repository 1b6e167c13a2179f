#include "services/stage_worker/weights/weight_builder.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/tensor/bfloat16.h"
#include "kernels/reference/reference_backend.h"
#include "tests/fakes/toy_model.h"

namespace baton::stage {
namespace {

class WeightBuilderTest : public testing::Test {
 protected:
  WeightBuilderTest() {
    team_ = *kernels::CreateReferenceBackend()->CreateTeam(1, 1);
    options_.config = fakes::ToyConfig();
    options_.stage = {1, 2, false, true};
    options_.compute_type = DataType::kFloat32;
  }
  absl::Status Install(WeightBuilder& builder, const std::string& name, TensorView values) {
    WeightSpec spec;
    spec.name = name;
    return builder.Install({&spec, 0, {.values = values}});
  }
  kernels::Ops* ops() { return team_.devices[0].ops.get(); }

  kernels::Team team_;
  WeightStoreOptions options_;
};

TEST_F(WeightBuilderTest, WidensNormWeights) {
  WeightBuilder builder(options_, ops());
  std::vector<BFloat16> values = {ToBFloat16(1.5f), ToBFloat16(-0.25f)};
  ASSERT_TRUE(Install(builder, "model.norm.weight", View(values.data(), 1, 2)).ok());
  const TensorView& norm = builder.weights().final_norm;
  ASSERT_EQ(norm.columns, 2);
  EXPECT_EQ(norm.Row<float>(0)[0], 1.5f);
  EXPECT_EQ(norm.Row<float>(0)[1], -0.25f);
  EXPECT_GE(builder.resident_bytes(), 2 * sizeof(float));
}

TEST_F(WeightBuilderTest, PutsEachExpertInItsPlace) {
  WeightBuilder builder(options_, ops());
  std::vector<float> values(6);
  ASSERT_TRUE(
      Install(builder, "model.layers.1.mlp.experts.5.up_proj.weight", View(values.data(), 2, 3))
          .ok());
  const LayerShard& shard = builder.weights().layers[0].ranks[0];
  EXPECT_EQ(shard.experts[5].up->n(), 2);
  EXPECT_EQ(shard.expert_views[5].up, shard.experts[5].up.get());
  EXPECT_EQ(shard.experts[4].up, nullptr);
}

TEST_F(WeightBuilderTest, RefusesNamesWithoutAPlace) {
  WeightBuilder builder(options_, ops());
  std::vector<float> values(6);
  for (const char* name :
       {"model.layers.0.self_attn.o_proj.weight", "model.layers.2.self_attn.o_proj.weight",
        "model.layers.x.self_attn.o_proj.weight", "model.layers.1.self_attn.z_proj.weight",
        "model.layers.1.mlp.experts.8.up_proj.weight", "model.layers.1.mlp.experts.up_proj.weight",
        "model.layers.1.extra", "something"}) {
    const absl::Status status = Install(builder, name, View(values.data(), 2, 3));
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(name));
  }
}

}  // namespace
}  // namespace baton::stage
