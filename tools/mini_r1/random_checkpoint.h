// Writes a checkpoint of random weights: safetensors shards, index, config.json, tokenizer.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"

namespace baton {

struct RandomCheckpointOptions {
  std::string config_json;
  // Folder whose tokenizer.json, tokenizer_config.json and chat_template.jinja are copied; empty:
  // none.
  std::string tokenizer;
  std::string output;  // a new or empty folder
  uint64_t seed = 1234;
  int num_threads = 1;  // each writes one shard at a time
  // Bytes of tensors so far, and all; called by any thread, one at a time. May be null.
  std::function<void(uint64_t done, uint64_t total)> progress;
};

// A shard per layer, one each for the embedding and for what follows the layers; the same bytes for
// the same config.json and seed, whatever the number of threads. The index comes last: a folder
// without it is no checkpoint. Errors: InvalidArgument (config, folders), AlreadyExists (the
// output is not empty), ResourceExhausted (no space), Unavailable (I/O).
absl::Status WriteRandomCheckpoint(const RandomCheckpointOptions& options);

}  // namespace baton
