// How long a pipeline stage computes a step at least, from the model's sizes: memory and arithmetic
// of one rank, nothing else. What a step has of each unit: see the fields.
#pragma once

#include <cstdint>

#include "common/model/model_config.h"
#include "common/model/weight_inventory.h"

namespace baton {

// One rank's device. Default: what a copy and a large product reached on an H200.
struct DeviceSpeed {
  double bytes_per_second = 4.3e12;
  double bf16_flops = 7.9e14;
  double fp8_flops = 1.5e15;  // for FP8 weights
};

// Seconds per unit.
struct StageFloor {
  double step = 0;           // weights that every step reads
  double experts = 0;        // reading every routed expert; a step reads the part that it touches
  double token = 0;          // computed
  double decode_kv = 0;      // position of KV cache that a row of one token attends to
  double chunk_kv = 0;       // position that a longer row expands from its latent
  double chunk_pair = 0;     // token and position that it attends to, in a longer row
  double sampled = 0;        // row whose next token is sampled
  double absorbed_pair = 0;  // as chunk_pair, of a token that is not expanded
};

// Requires CheckTensorParallelSize(config, num_ranks).
StageFloor FloorOfStage(const ModelConfig& config, const StageShape& shape, int num_ranks,
                        const DeviceSpeed& device);

// Part of the routed experts that one token uses; 0 without experts.
double ExpertShare(const ModelConfig& config);

}  // namespace baton
