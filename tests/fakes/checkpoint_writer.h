// Writes small checkpoints for tests: safetensors files, an index, a config.json.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/model/model_config.h"

namespace baton::testing {

// A fresh folder under the test's temporary directory, removed with this object.
class TempFolder {
 public:
  explicit TempFolder(const std::string& name);
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

struct WrittenTensor {
  std::string name;
  std::string type;  // "BF16"
  std::vector<uint64_t> shape;
  std::string data;
};

// A whole file: length, JSON of `header`, `data`.
std::string SafetensorsFile(const std::string& header, const std::string& data);
// The same with a header that describes `tensors`, in their order.
std::string SafetensorsFile(const std::vector<WrittenTensor>& tensors);

void WriteFile(const std::string& path, const std::string& bytes);
std::string ReadFile(const std::string& path);

// A config.json of the architecture with sizes that make a checkpoint of about 60 KB, FP8 or BF16.
std::string SmallConfigJson(bool fp8 = true);

// Every tensor that `config` wants with pseudo-random bytes (finite, positive scales).
std::vector<WrittenTensor> RandomTensors(const ModelConfig& config, uint32_t seed);

// Writes config.json, `num_files` shards with the tensors spread over them, and the index.
void WriteCheckpoint(const std::string& folder, const std::string& config_json,
                     const std::vector<WrittenTensor>& tensors, int num_files);

}  // namespace baton::testing
