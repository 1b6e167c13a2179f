// Gated feed-forward networks and mixtures of them for tests, in host memory and packed.
#pragma once

#include <memory>
#include <vector>

#include "kernels/api/ops.h"
#include "tests/conformance/kernels/tensors.h"

namespace baton::kernels {

// One gated network in host memory.
struct Network {
  Network(Random& random, DataType type, int64_t hidden, int64_t intermediate, int64_t offset)
      : gate(random, {type, intermediate, hidden, 128, offset, 0}),
        up(random, {type, intermediate, hidden, 128, offset, 0}),
        down(random, {type, hidden, intermediate, 128, 0, offset}) {}

  TestWeight gate;
  TestWeight up;
  TestWeight down;
};

// The same, packed for a device.
struct PackedNetwork {
  PackedNetwork(Ops& ops, const Network& network, DataType compute_type)
      : gate(ops.Pack(network.gate.matrix, compute_type)),
        up(ops.Pack(network.up.matrix, compute_type)),
        down(ops.Pack(network.down.matrix, compute_type)) {}

  FeedForwardWeights weights() const { return {gate.get(), up.get(), down.get()}; }

  std::unique_ptr<PackedWeight> gate;
  std::unique_ptr<PackedWeight> up;
  std::unique_ptr<PackedWeight> down;
};

struct Mixture {
  std::vector<Network> experts;
  std::vector<Network> shared;  // one or none
};

// The same, packed for a device.
struct PackedMixture {
  PackedMixture(Ops& ops, const Mixture& mixture, DataType compute_type) {
    for (const Network& network : mixture.experts) {
      networks.emplace_back(ops, network, compute_type);
      experts.push_back(networks.back().weights());
    }
    for (const Network& network : mixture.shared) {
      networks.emplace_back(ops, network, compute_type);
      shared = networks.back().weights();
    }
  }

  std::vector<PackedNetwork> networks;
  std::vector<FeedForwardWeights> experts;
  FeedForwardWeights shared;  // all null: none
};

struct MixtureShape {
  DataType type = DataType::kFloat8E4M3;
  int64_t num_experts = 1;
  int64_t hidden = 0;
  int64_t intermediate = 0;
  int64_t shared_intermediate = 0;  // 0: no shared expert
  int64_t offset = 0;               // of the first row in its scale block
};

inline Mixture MakeMixture(Random& random, const MixtureShape& shape) {
  Mixture mixture;
  for (int64_t e = 0; e < shape.num_experts; ++e) {
    mixture.experts.emplace_back(random, shape.type, shape.hidden, shape.intermediate,
                                 shape.offset);
  }
  if (shape.shared_intermediate > 0) {
    mixture.shared.emplace_back(random, shape.type, shape.hidden, shape.shared_intermediate,
                                shape.offset);
  }
  return mixture;
}

// Which experts each token goes to.
struct Slots {
  std::vector<int32_t> experts;
  std::vector<float> weights;
  int64_t top_k = 0;

  Slots Rows(int64_t begin, int64_t count) const {
    return {{experts.begin() + begin * top_k, experts.begin() + (begin + count) * top_k},
            {weights.begin() + begin * top_k, weights.begin() + (begin + count) * top_k},
            top_k};
  }
};

inline Slots RandomSlots(Random& random, int64_t tokens, int64_t top_k, int32_t num_experts) {
  Slots slots;
  slots.top_k = top_k;
  std::uniform_real_distribution<float> uniform(0.1f, 1.0f);
  for (int64_t t = 0; t < tokens; ++t) {
    const int32_t first = static_cast<int32_t>(random() % num_experts);
    for (int64_t s = 0; s < top_k; ++s) {
      slots.experts.push_back((first + static_cast<int32_t>(s) * 3) % num_experts);
      slots.weights.push_back(uniform(random));
    }
  }
  return slots;
}

inline Tensor RunMixture(Ops& on, const PackedMixture& mixture, const Slots& slots,
                         const TensorView& x, int64_t out_gap) {
  Tensor out(DataType::kFloat32, x.rows, x.columns, out_gap);
  on.Experts(
      {x, slots.experts, slots.weights, slots.top_k, mixture.experts, mixture.shared, out.view});
  return out;
}

inline Tensor RunMixture(Ops& on, const Mixture& mixture, const Slots& slots, const TensorView& x,
                         int64_t out_gap) {
  return RunMixture(on, PackedMixture(on, mixture, x.type), slots, x, out_gap);
}

// Tolerance of networks against the reference: the inner rounding to bfloat16 may fall either way
// where sums differ in their last bits.
inline double NetworkTolerance(DataType compute_type) {
  return compute_type == DataType::kFloat32 ? 1e-5 : 3e-3;
}

}  // namespace baton::kernels
