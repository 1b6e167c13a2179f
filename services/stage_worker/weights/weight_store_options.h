// What a device's weights are of.
#pragma once

#include <cstddef>

#include "common/model/model_config.h"
#include "common/model/weight_inventory.h"
#include "common/tensor/data_type.h"

namespace baton::stage {

struct WeightStoreOptions {
  ModelConfig config;
  StageShape stage;
  int num_ranks = 1;        // of the stage
  int first_rank = 0;       // of this device
  int num_local_ranks = 1;  // of this device
  DataType compute_type = DataType::kBFloat16;
  bool expand_prompts = false;  // weights for attention in the expanded form, too
  // What comes in bands comes in bands of about this much, as one chunk of a transfer does.
  size_t band_bytes = size_t{4} << 20;
};

}  // namespace baton::stage
