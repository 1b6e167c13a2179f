#include "tests/fakes/memory_checkpoint.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

#include "common/status/status_macros.h"
#include "common/tensor/bfloat16.h"
#include "common/tensor/float8_e4m3.h"

namespace baton::fakes {
namespace {

struct RawFile {
  nlohmann::json header;
  std::string bytes;  // behind the header
};

absl::StatusOr<RawFile> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(path);
  const std::string content{std::istreambuf_iterator<char>(file), {}};
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, content.data(), sizeof(header_bytes));
  RawFile raw;
  raw.header = nlohmann::json::parse(content.substr(8, header_bytes));
  raw.header.erase("__metadata__");
  raw.bytes = content.substr(8 + header_bytes);
  return raw;
}

std::span<const char> BytesOf(const RawFile& file, const nlohmann::json& entry) {
  const size_t begin = entry["data_offsets"][0];
  const size_t end = entry["data_offsets"][1];
  return {file.bytes.data() + begin, end - begin};
}

MemoryTensor MakeTensor(const RawFile& file, const nlohmann::json& entry) {
  MemoryTensor tensor;
  const std::string type = entry["dtype"];
  for (DataType known : {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat8E4M3}) {
    if (type == Name(known)) tensor.type = known;
  }
  const nlohmann::json& shape = entry["shape"];
  tensor.rows = shape.size() == 2 ? shape[0].get<int64_t>() : 1;
  tensor.columns = shape.back().get<int64_t>();
  const std::span<const char> bytes = BytesOf(file, entry);
  tensor.bytes.resize(bytes.size());
  std::memcpy(tensor.bytes.data(), bytes.data(), bytes.size());
  return tensor;
}

MemoryTensor Dequantise(const MemoryTensor& values, const MemoryTensor& scales, int64_t block) {
  MemoryTensor out{DataType::kBFloat16, values.rows, values.columns, {}};
  out.bytes.resize(values.bytes.size() * sizeof(BFloat16));
  const auto* from = reinterpret_cast<const Float8E4M3*>(values.bytes.data());
  const auto* scale = reinterpret_cast<const float*>(scales.bytes.data());
  auto* to = reinterpret_cast<BFloat16*>(out.bytes.data());
  for (int64_t row = 0; row < values.rows; ++row) {
    for (int64_t column = 0; column < values.columns; ++column) {
      const int64_t i = row * values.columns + column;
      to[i] = ToBFloat16(ToFloat(from[i]) * scale[row / block * scales.columns + column / block]);
    }
  }
  return out;
}

}  // namespace

absl::StatusOr<MemoryCheckpoint> MemoryCheckpoint::Read(const std::string& directory) {
  MemoryCheckpoint checkpoint;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.path().extension() != ".safetensors") continue;
    ASSIGN_OR_RETURN(const RawFile file, ReadFile(entry.path().string()));
    for (const auto& [name, tensor] : file.header.items()) {
      checkpoint.Set(name, MakeTensor(file, tensor));
    }
  }
  return checkpoint;
}

MemoryCheckpoint MemoryCheckpoint::ToBFloat16Form(int64_t block_size) const {
  MemoryCheckpoint form;
  for (const auto& [name, tensor] : tensors_) {
    if (absl::EndsWith(name, "_scale_inv")) continue;
    const auto scales = tensors_.find(name + "_scale_inv");
    form.Set(name,
             scales == tensors_.end() ? tensor : Dequantise(tensor, scales->second, block_size));
  }
  return form;
}

absl::Status MemoryCheckpoint::Fill(stage::WeightStore& store) const {
  for (size_t i = 0; i < store.slices().size(); ++i) {
    const stage::NeededSlice& needed = store.slices()[i];
    const auto found = tensors_.find(needed.spec.name);
    if (found == tensors_.end()) return absl::NotFoundError(needed.spec.name);
    const MemoryTensor& tensor = found->second;
    if (tensor.rows != needed.spec.rows || tensor.columns != needed.spec.columns ||
        tensor.type != needed.spec.type) {
      return absl::InvalidArgumentError(absl::StrCat(needed.spec.name, " is ", Name(tensor.type),
                                                     " ", tensor.rows, " x ", tensor.columns));
    }
    ASSIGN_OR_RETURN(const std::span<std::byte> bytes, store.Destination(i));
    const WeightSlice& slice = needed.slice;
    const size_t size = SizeOf(tensor.type);
    const size_t row_bytes = static_cast<size_t>(slice.column_end - slice.column_begin) * size;
    std::byte* to = bytes.data();
    for (int64_t row = slice.row_begin; row < slice.row_end; ++row, to += row_bytes) {
      const int64_t begin = row * tensor.columns + slice.column_begin;
      std::memcpy(to, tensor.bytes.data() + static_cast<size_t>(begin) * size, row_bytes);
    }
    RETURN_IF_ERROR(store.MarkComplete(i));
  }
  return store.Finish();
}

absl::StatusOr<std::map<std::string, FloatTensor>> ReadFloatTensors(const std::string& path) {
  ASSIGN_OR_RETURN(const RawFile file, ReadFile(path));
  std::map<std::string, FloatTensor> tensors;
  for (const auto& [name, entry] : file.header.items()) {
    const nlohmann::json& shape = entry["shape"];
    FloatTensor& tensor = tensors[name];
    tensor.rows = shape.size() == 2 ? shape[0].get<int64_t>() : 1;
    tensor.columns = shape.back().get<int64_t>();
    const std::span<const char> bytes = BytesOf(file, entry);
    const size_t count = bytes.size() / sizeof(float);
    tensor.values.resize(count);
    if (entry["dtype"] == "F32") {
      std::memcpy(tensor.values.data(), bytes.data(), bytes.size());
      continue;
    }
    std::vector<int32_t> integers(count);
    std::memcpy(integers.data(), bytes.data(), bytes.size());
    tensor.values.assign(integers.begin(), integers.end());
  }
  return tensors;
}

}  // namespace baton::fakes
