// Small models of the architecture with random weights, and a second implementation to hold a stage
// against: double precision, all positions at once, attention as published (not absorbed).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/model/model_config.h"
#include "tests/fakes/memory_checkpoint.h"

namespace baton::fakes {

// 3 layers (1 dense), hidden 48, 6 heads, 8 experts in 4 groups, vocabulary 60, FP8 in blocks of 16
// that shards of 2, 3 or 6 ranks cut.
ModelConfig ToyConfig();

// Every tensor of the inventory, random with a fixed seed.
MemoryCheckpoint RandomCheckpoint(const ModelConfig& config, uint32_t seed);

// Logits after each of `token_ids`: [tokens][vocab].
std::vector<std::vector<double>> NaiveLogits(const ModelConfig& config,
                                             const MemoryCheckpoint& checkpoint,
                                             const std::vector<uint32_t>& token_ids);

// Natural logarithm of the softmax of `logits` at `token_id`.
double NaiveLogprob(const std::vector<double>& logits, uint32_t token_id);

}  // namespace baton::fakes
