#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"

#include "tests/conformance/kernels/backends.h"
#include "tests/conformance/kernels/networks.h"
#include "tests/conformance/kernels/tensors.h"

namespace baton::kernels {
namespace {

constexpr DataType kExpertsComputeTypes[] = {DataType::kFloat32, DataType::kBFloat16};
constexpr DataType kExpertsWeightTypes[] = {DataType::kFloat32, DataType::kBFloat16,
                                            DataType::kFloat8E4M3};

class ExpertsConformance : public ConformanceTest {
 protected:
  static Tensor Run(Ops& on, const Mixture& mixture, const Slots& slots, const TensorView& x) {
    return RunMixture(on, mixture, slots, x, 2);
  }
};

class ExpertsAgainstReference : public ExpertsConformance {
 protected:
  // One dense network of the shape, on random rows.
  void CheckNetwork(Random& random, const MixtureShape& shape, DataType type, int64_t tokens) {
    const Network network(random, shape.type, shape.hidden, shape.intermediate, shape.offset);
    const Tensor x = RandomTensor(random, type, tokens, shape.hidden, 1.0f, 3);
    Tensor outs[2] = {Tensor(DataType::kFloat32, tokens, shape.hidden),
                      Tensor(DataType::kFloat32, tokens, shape.hidden)};
    Ops* devices[2] = {&reference(), &ops()};
    for (int d = 0; d < 2; ++d) {
      const PackedNetwork packed(*devices[d], network, type);
      devices[d]->FeedForward({x.view, packed.weights(), outs[d].view});
    }
    EXPECT_LE(RelativeL2(outs[1].view, outs[0].view), NetworkTolerance(type))
        << CaseOf(shape, type, tokens);
  }

  void CheckMixture(Random& random, const MixtureShape& shape, DataType type, int64_t tokens) {
    const Mixture mixture = MakeMixture(random, shape);
    const Slots slots = RandomSlots(random, tokens, 3, static_cast<int32_t>(shape.num_experts));
    const Tensor x = RandomTensor(random, type, tokens, shape.hidden, 1.0f, 2);
    const Tensor expected = Run(reference(), mixture, slots, x.view);
    const Tensor actual = Run(ops(), mixture, slots, x.view);
    EXPECT_LE(RelativeL2(actual.view, expected.view), NetworkTolerance(type))
        << CaseOf(shape, type, tokens);
  }

 private:
  static std::string CaseOf(const MixtureShape& shape, DataType type, int64_t tokens) {
    return absl::StrCat(Name(shape.type), " ", shape.hidden, " x ", shape.intermediate, " at ",
                        shape.offset, " in ", Name(type), ", ", tokens, " tokens");
  }
};

// The odd widths lie inside a scale block, and across the end of one.
TEST_P(ExpertsAgainstReference, FeedForwardMatchesTheReference) {
  Random random(1);
  for (DataType weight_type : kExpertsWeightTypes) {
    for (DataType type : kExpertsComputeTypes) {
      for (int64_t tokens : {0, 1, 2, 9}) {
        CheckNetwork(random, {weight_type, 1, 72, 50, 0, 16}, type, tokens);
        CheckNetwork(random, {weight_type, 1, 33, 17, 0, 5}, type, tokens);
        CheckNetwork(random, {weight_type, 1, 33, 17, 0, 117}, type, tokens);
      }
    }
  }
}

TEST_P(ExpertsAgainstReference, MixturesMatchTheReference) {
  Random random(2);
  for (DataType weight_type : kExpertsWeightTypes) {
    for (DataType type : kExpertsComputeTypes) {
      for (int64_t tokens : {1, 2, 33}) {
        CheckMixture(random, {weight_type, 7, 64, 16, tokens != 2 ? 32 : 0, 112}, type, tokens);
        CheckMixture(random, {weight_type, 5, 33, 17, 19, 5}, type, tokens);
        CheckMixture(random, {weight_type, 5, 33, 17, 19, 117}, type, tokens);
      }
    }
  }
}

TEST_P(ExpertsConformance, EmptySlotsAddNothing) {
  Random random(3);
  const Mixture mixture = MakeMixture(random, {DataType::kBFloat16, 4, 32, 16});
  const Tensor x = RandomTensor(random, DataType::kFloat32, 2, 32);
  const Slots slots = {{-1, 2, -1, -1}, {0.5f, 0.5f, 0.5f, 0.5f}, 2};
  const Slots only = {{2}, {0.5f}, 1};
  const Tensor out = Run(ops(), mixture, slots, x.view);
  const Tensor expected = Run(ops(), mixture, only, x.view.Rows(0, 1));
  EXPECT_TRUE(SameBits(out.view, 0, expected.view, 0));
  for (int64_t c = 0; c < 32; ++c) EXPECT_EQ(Get(out.view, 1, c), 0.0f);
}

TEST_P(ExpertsConformance, ATokenDoesNotDependOnWhoSharesItsExperts) {
  Random random(5);
  for (DataType type : kExpertsComputeTypes) {
    const Mixture mixture = MakeMixture(random, {DataType::kFloat8E4M3, 5, 80, 48, 96, 7});
    const Slots slots = RandomSlots(random, 29, 2, 5);
    const Tensor x = RandomTensor(random, type, 29, 80);
    const Tensor all = Run(ops(), mixture, slots, x.view);
    for (int64_t begin = 0; begin < 29; begin += 4) {
      const int64_t count = std::min<int64_t>(begin % 3 + 1, 29 - begin);
      const Slots some = slots.Rows(begin, count);
      const Tensor part = Run(ops(), mixture, some, x.view.Rows(begin, count));
      for (int64_t r = 0; r < count; ++r) {
        ASSERT_TRUE(SameBits(part.view, r, all.view, begin + r)) << "token " << begin + r;
      }
    }
  }
}

TEST_P(ExpertsConformance, GivesTheSameBitsWithAnyNumberOfThreads) {
  if (GetParam().is_reference()) GTEST_SKIP() << "has one thread";
  Random random(6);
  const Mixture mixture = MakeMixture(random, {DataType::kFloat8E4M3, 8, 256, 128, 256});
  const Slots slots = RandomSlots(random, 21, 4, 8);
  const Tensor x = RandomTensor(random, DataType::kBFloat16, 21, 256);
  const Tensor expected = Run(ops(), mixture, slots, x.view);
  for (int threads : {1, 2, 5}) {
    BackendCase other = GetParam();
    other.num_threads = threads;
    Team team = other.create(other)->CreateTeam(1, 1).value();
    EXPECT_TRUE(SameBits(Run(*team.devices[0].ops, mixture, slots, x.view).view, expected.view))
        << threads << " threads";
  }
}

BATON_CONFORMANCE_TESTS(ExpertsConformance);
BATON_COMPARISON_TESTS(ExpertsAgainstReference);

}  // namespace
}  // namespace baton::kernels
