// A checkpoint held in memory, for tests: read from safetensors files, or made tensor by tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "common/model/model_config.h"
#include "common/tensor/data_type.h"
#include "services/stage_worker/weights/weight_store.h"

namespace baton::fakes {

struct MemoryTensor {
  DataType type = DataType::kFloat32;
  int64_t rows = 1;  // 1 for a vector
  int64_t columns = 0;
  std::vector<std::byte> bytes;
};

class MemoryCheckpoint {
 public:
  // Every tensor of every model*.safetensors in `directory`. Tests alone: trusts the files.
  static absl::StatusOr<MemoryCheckpoint> Read(const std::string& directory);

  // The BF16 form: FP8 tensors become q x scale in float32, rounded to nearest even; scales go.
  MemoryCheckpoint ToBFloat16Form(int64_t block_size) const;

  void Set(const std::string& name, MemoryTensor tensor) { tensors_[name] = std::move(tensor); }
  const std::map<std::string, MemoryTensor>& tensors() const { return tensors_; }

  // Gives a store all slices that it asks for, and finishes it. NotFound, InvalidArgument (shape).
  absl::Status Fill(stage::WeightStore& store) const;

 private:
  std::map<std::string, MemoryTensor> tensors_;
};

// Float32 and int32 tensors of one safetensors file as floats, rows x columns.
struct FloatTensor {
  int64_t rows = 0;
  int64_t columns = 0;
  std::vector<float> values;
};
absl::StatusOr<std::map<std::string, FloatTensor>> ReadFloatTensors(const std::string& path);

}  // namespace baton::fakes
