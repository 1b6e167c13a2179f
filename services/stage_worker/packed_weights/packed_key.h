// What the bytes of packed weights depend on.
#pragma once

#include <string>

#include "services/stage_worker/weights/weight_store.h"

namespace baton::stage {

// What a store does not know of itself.
struct PackedOrigin {
  std::string build_id;           // of the program: what is made of a checkpoint follows from it
  std::string model_fingerprint;  // of config.json
  std::string checkpoint_fingerprint;  // of the checkpoint's files, as the model-loader says
};

struct PackedKey {
  // One line per fact: program, checkpoint, stage, ranks, compute type, forms of attention,
  // packing, places. Stores with the same key hold the same bytes, as far as the fingerprint of the
  // checkpoint tells checkpoints apart (loading.proto).
  std::string text;
  // "<16 hex digits>-", of the facts that stay when program or checkpoint are replaced: names of
  // files that come one after the other for one stage begin alike.
  std::string stage_prefix;
  std::string file_name;  // "<stage_prefix><32 hex digits of text>.packed"
};

PackedKey MakePackedKey(const PackedOrigin& origin, const WeightStore& store);

}  // namespace baton::stage
