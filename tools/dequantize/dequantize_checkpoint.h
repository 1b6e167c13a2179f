// Writes the BF16 form of an FP8 checkpoint: q x scale in float32, rounded to nearest even; the
// same files, a new index, config.json without quantization_config, everything else copied.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"

namespace baton {

struct DequantizeOptions {
  std::string input;
  std::string output;  // a new or empty folder
  // Accept input files that are symbolic links.
  bool follow_links = false;
  // Told after every few MiB: bytes of input tensors done, and of all.
  std::function<void(uint64_t done, uint64_t total)> progress;
};

// Memory is bounded by a few MiB whatever the model's size. The result is checked like any
// checkpoint before this returns. Errors: as loader::OpenServedModel for the input;
// FailedPrecondition (no FP8 form); AlreadyExists (the output folder is not empty);
// ResourceExhausted (no space). After an error the output folder may hold complete files, never
// half of one.
absl::Status DequantizeCheckpoint(const DequantizeOptions& options);

}  // namespace baton
