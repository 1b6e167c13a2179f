#include "tests/fakes/checkpoint_writer.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <unistd.h>

#include <gtest/gtest.h>

#include "nlohmann/json.hpp"

#include "common/model/weight_inventory.h"

namespace baton::testing {
namespace {

using nlohmann::json;

std::string RandomBytes(const WeightSpec& spec, std::mt19937& random) {
  const size_t elements = static_cast<size_t>(spec.rows * spec.columns);
  std::string bytes(elements * SizeOf(spec.type), '\0');
  if (spec.type == DataType::kFloat32) {
    for (size_t i = 0; i < elements; ++i) {
      const float value = 0.25f + static_cast<float>(random() % 1024) / 256.0f;
      std::memcpy(&bytes[i * sizeof(value)], &value, sizeof(value));
    }
    return bytes;
  }
  for (char& byte : bytes) byte = static_cast<char>(random() % 256);
  if (spec.type == DataType::kFloat8E4M3) {
    for (char& byte : bytes) {
      if ((byte & 0x7f) == 0x7f) byte = 0;  // no NaN
    }
  }
  return bytes;
}

}  // namespace

TempFolder::TempFolder(const std::string& name)
    : path_(::testing::TempDir() + "/baton_" + name + "_" + std::to_string(getpid())) {
  std::filesystem::remove_all(path_);
  std::filesystem::create_directories(path_);
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string SafetensorsFile(const std::string& header, const std::string& data) {
  std::string file(8, '\0');
  const uint64_t length = header.size();
  std::memcpy(file.data(), &length, sizeof(length));
  return file + header + data;
}

std::string SafetensorsFile(const std::vector<WrittenTensor>& tensors) {
  json header = {{"__metadata__", {{"format", "pt"}}}};
  std::string data;
  for (const WrittenTensor& tensor : tensors) {
    header[tensor.name] = {{"dtype", tensor.type},
                           {"shape", tensor.shape},
                           {"data_offsets", {data.size(), data.size() + tensor.data.size()}}};
    data += tensor.data;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return SafetensorsFile(text, data);
}

void WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

std::string ReadFile(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

std::string SmallConfigJson(bool fp8) {
  json config = {{"architectures", {"DeepseekV3ForCausalLM"}},
                 {"model_type", "deepseek_v3"},
                 {"hidden_size", 24},
                 {"num_hidden_layers", 3},
                 {"first_k_dense_replace", 1},
                 {"num_nextn_predict_layers", 1},
                 {"intermediate_size", 32},
                 {"moe_intermediate_size", 16},
                 {"n_routed_experts", 4},
                 {"n_shared_experts", 1},
                 {"num_experts_per_tok", 2},
                 {"n_group", 2},
                 {"topk_group", 1},
                 {"routed_scaling_factor", 2.5},
                 {"num_attention_heads", 4},
                 {"q_lora_rank", 16},
                 {"kv_lora_rank", 8},
                 {"qk_nope_head_dim", 8},
                 {"qk_rope_head_dim", 4},
                 {"v_head_dim", 8},
                 {"max_position_embeddings", 64},
                 {"vocab_size", 32},
                 {"torch_dtype", "bfloat16"}};
  if (fp8) {
    config["quantization_config"] = {
        {"quant_method", "fp8"}, {"fmt", "e4m3"}, {"weight_block_size", {128, 128}}};
  }
  return config.dump(2);
}

std::vector<WrittenTensor> RandomTensors(const ModelConfig& config, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<WrittenTensor> tensors;
  for (const WeightSpec& spec : CheckpointInventory(config)) {
    std::vector<uint64_t> shape = {static_cast<uint64_t>(spec.columns)};
    if (spec.num_dimensions == 2) shape.insert(shape.begin(), static_cast<uint64_t>(spec.rows));
    tensors.push_back({spec.name, std::string(Name(spec.type)), shape, RandomBytes(spec, random)});
  }
  return tensors;
}

void WriteCheckpoint(const std::string& folder, const std::string& config_json,
                     const std::vector<WrittenTensor>& tensors, int num_files) {
  WriteFile(folder + "/config.json", config_json);
  json weight_map = json::object();
  const size_t count = static_cast<size_t>(num_files);
  for (size_t i = 0; i < count; ++i) {
    const std::string name = "model-" + std::to_string(i + 1) + ".safetensors";
    const std::vector<WrittenTensor> part(
        tensors.begin() + static_cast<std::ptrdiff_t>(tensors.size() * i / count),
        tensors.begin() + static_cast<std::ptrdiff_t>(tensors.size() * (i + 1) / count));
    for (const WrittenTensor& tensor : part) weight_map[tensor.name] = name;
    WriteFile(folder + "/" + name, SafetensorsFile(part));
  }
  WriteFile(folder + "/model.safetensors.index.json",
            json{{"metadata", {{"total_size", 0}}}, {"weight_map", weight_map}}.dump());
}

}  // namespace baton::testing
