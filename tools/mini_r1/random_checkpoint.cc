#include "tools/mini_r1/random_checkpoint.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <map>
#include <mutex>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"

#include "common/model/model_config.h"
#include "common/model/weight_inventory.h"
#include "common/status/status_macros.h"
#include "tools/dequantize/output_file.h"
#include "tools/mini_r1/random_weights.h"

namespace baton {
namespace {

using nlohmann::ordered_json;

constexpr float kWeightDeviation = 0.02f;  // initializer_range
constexpr float kBiasDeviation = 0.01f;    // of the choice of experts
constexpr absl::string_view kIndexName = "model.safetensors.index.json";
constexpr const char* kTokenizerFiles[] = {"tokenizer.json", "tokenizer_config.json",
                                           "chat_template.jinja"};

struct Shard {
  std::string name;
  std::vector<WeightSpec> tensors;
  uint64_t bytes = 0;
};

uint64_t BytesOf(const WeightSpec& spec) {
  return static_cast<uint64_t>(spec.rows * spec.columns) * SizeOf(spec.type);
}

std::vector<Shard> CutShards(const ModelConfig& config) {
  std::map<int64_t, Shard> by_place;  // embedding -1, layers, the rest after them
  const int64_t last = config.num_layers + config.num_mtp_layers;
  for (WeightSpec& spec : CheckpointInventory(config)) {
    const bool embedding = spec.place == WeightPlace::kEmbedding;
    const int64_t place = embedding ? -1 : spec.layer >= 0 ? spec.layer : last;
    Shard& shard = by_place[place];
    shard.bytes += BytesOf(spec);
    shard.tensors.push_back(std::move(spec));
  }
  std::vector<Shard> shards;
  for (auto& [place, shard] : by_place) {
    shard.name =
        absl::StrFormat("model-%05d-of-%05d.safetensors", shards.size() + 1, by_place.size());
    shards.push_back(std::move(shard));
  }
  return shards;
}

std::string HeaderOf(const Shard& shard) {
  ordered_json header = {{"__metadata__", {{"format", "pt"}}}};
  uint64_t offset = 0;
  for (const WeightSpec& spec : shard.tensors) {
    const uint64_t end = offset + BytesOf(spec);
    std::vector<int64_t> shape;
    if (spec.num_dimensions == 2) shape.push_back(spec.rows);
    shape.push_back(spec.columns);
    header[spec.name] = {
        {"dtype", Name(spec.type)}, {"shape", shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // data begins aligned
  std::string length(8, '\0');
  for (size_t i = 0; i < 8; ++i) length[i] = static_cast<char>(text.size() >> (8 * i));
  return length + text;
}

template <typename T>
absl::Status AppendValues(OutputFile& out, const std::vector<T>& values) {
  return out.Append(std::as_bytes(std::span<const T>(values)));
}

class CheckpointWriter {
 public:
  CheckpointWriter(const RandomCheckpointOptions& options, ModelConfig config)
      : options_(options), config_(std::move(config)), shards_(CutShards(config_)) {
    for (const Shard& shard : shards_) total_ += shard.bytes;
  }

  absl::Status Run() {
    RETURN_IF_ERROR(WriteShards());
    RETURN_IF_ERROR(WriteText("config.json", options_.config_json));
    RETURN_IF_ERROR(WriteText("generation_config.json", GenerationConfig()));
    RETURN_IF_ERROR(CopyTokenizer());
    return WriteText(std::string(kIndexName), IndexJson());
  }

 private:
  std::string PathOf(const std::string& name) const {
    return absl::StrCat(options_.output, "/", name);
  }

  absl::Status WriteShards() {
    std::vector<std::thread> others;
    for (int i = 1; i < options_.num_threads; ++i) others.emplace_back([this] { TakeShards(); });
    TakeShards();
    for (std::thread& other : others) other.join();
    return failure_;
  }

  void TakeShards() {
    for (size_t next = next_shard_++; next < shards_.size(); next = next_shard_++) {
      const absl::Status written = WriteShard(shards_[next]);
      const std::scoped_lock lock(mutex_);
      if (!written.ok() && failure_.ok()) failure_ = written;
      if (!failure_.ok()) return;
    }
  }

  absl::Status WriteShard(const Shard& shard) {
    ASSIGN_OR_RETURN(const std::unique_ptr<OutputFile> out, OutputFile::Create(PathOf(shard.name)));
    RETURN_IF_ERROR(out->Append(HeaderOf(shard)));
    std::vector<float> scales;  // of the weight before
    for (const WeightSpec& spec : shard.tensors) {
      if (spec.scaled_rows > 0) {
        RETURN_IF_ERROR(AppendValues(*out, scales));
      } else if (spec.num_dimensions == 1) {
        RETURN_IF_ERROR(WriteVector(spec, *out));
      } else {
        RETURN_IF_ERROR(WriteMatrix(spec, *out, &scales));
      }
      Advance(BytesOf(spec));
    }
    return out->Close();
  }

  // Gains of norms are one; the bias of the choice of experts is random.
  absl::Status WriteVector(const WeightSpec& spec, OutputFile& out) const {
    std::vector<BFloat16> values(spec.columns, ToBFloat16(1.0f));
    if (spec.type == DataType::kBFloat16) return AppendValues(out, values);
    FillRandom(TensorKey(spec.name, options_.seed), 0, kBiasDeviation, values);
    std::vector<float> wide;
    for (const BFloat16 value : values) wide.push_back(ToFloat(value));
    return AppendValues(out, wide);
  }

  absl::Status WriteMatrix(const WeightSpec& spec, OutputFile& out, std::vector<float>* scales) {
    const uint64_t key = TensorKey(spec.name, options_.seed);
    const int64_t block = config_.fp8_block_size;
    const int64_t column_blocks = (spec.columns + block - 1) / block;
    scales->clear();
    std::vector<BFloat16> values;
    std::vector<Float8E4M3> codes;
    for (int64_t row = 0; row < spec.rows; row += block) {
      values.resize(std::min(block, spec.rows - row) * spec.columns);
      FillRandom(key, row * spec.columns, kWeightDeviation, values);
      if (spec.type == DataType::kBFloat16) {
        RETURN_IF_ERROR(AppendValues(out, values));
        continue;
      }
      codes.resize(values.size());
      scales->resize(scales->size() + column_blocks);
      QuantizeRows(values, spec.columns, block, codes,
                   std::span(*scales).last(static_cast<size_t>(column_blocks)));
      RETURN_IF_ERROR(AppendValues(out, codes));
    }
    return absl::OkStatus();
  }

  absl::Status WriteText(const std::string& name, const std::string& text) const {
    ASSIGN_OR_RETURN(const std::unique_ptr<OutputFile> out, OutputFile::Create(PathOf(name)));
    RETURN_IF_ERROR(out->Append(text));
    return out->Close();
  }

  std::string GenerationConfig() const {
    const ordered_json json = {{"bos_token_id", config_.bos_token_id},
                               {"eos_token_id", config_.eos_token_ids},
                               {"do_sample", false}};
    return json.dump(2) + "\n";
  }

  std::string IndexJson() const {
    ordered_json map = ordered_json::object();
    for (const Shard& shard : shards_) {
      for (const WeightSpec& spec : shard.tensors) map[spec.name] = shard.name;
    }
    const ordered_json index = {{"metadata", {{"total_size", total_}}}, {"weight_map", map}};
    return index.dump(1) + "\n";
  }

  absl::Status CopyTokenizer() const {
    if (options_.tokenizer.empty()) return absl::OkStatus();
    for (const char* name : kTokenizerFiles) {
      const std::string from = absl::StrCat(options_.tokenizer, "/", name);
      std::error_code error;
      if (!std::filesystem::exists(from, error)) continue;
      std::filesystem::copy_file(from, PathOf(name), error);
      if (error) return absl::UnavailableError(absl::StrCat(from, ": ", error.message()));
    }
    return absl::OkStatus();
  }

  void Advance(uint64_t bytes) {
    const std::scoped_lock lock(mutex_);
    done_ += bytes;
    if (options_.progress != nullptr) options_.progress(done_, total_);
  }

  const RandomCheckpointOptions& options_;
  const ModelConfig config_;
  const std::vector<Shard> shards_;
  uint64_t total_ = 0;
  std::atomic<size_t> next_shard_{0};
  std::mutex mutex_;
  uint64_t done_ = 0;     // under mutex_
  absl::Status failure_;  // under mutex_; the first one
};

absl::Status CheckFolders(const RandomCheckpointOptions& options) {
  std::error_code error;
  if (!options.tokenizer.empty() &&
      !std::filesystem::exists(absl::StrCat(options.tokenizer, "/tokenizer.json"), error)) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.tokenizer, " has no tokenizer.json (--tokenizer)"));
  }
  std::filesystem::create_directories(options.output, error);
  if (error || !std::filesystem::is_directory(options.output, error)) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.output, " is not and cannot become a folder"));
  }
  if (!std::filesystem::is_empty(options.output, error) || error) {
    return absl::AlreadyExistsError(
        absl::StrCat(options.output, " is not empty; nothing is overwritten, name a new folder"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteRandomCheckpoint(const RandomCheckpointOptions& options) {
  ASSIGN_OR_RETURN(ModelConfig config, ParseModelConfig(options.config_json));
  RETURN_IF_ERROR(CheckFolders(options));
  return CheckpointWriter(options, std::move(config)).Run();
}

}  // namespace baton
