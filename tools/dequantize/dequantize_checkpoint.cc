#include "tools/dequantize/dequantize_checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

#include "common/status/status_macros.h"
#include "services/model_loader/format/checkpoint_index.h"
#include "services/model_loader/format/served_model.h"
#include "tools/dequantize/block_scales.h"
#include "tools/dequantize/output_file.h"

namespace baton {
namespace {

using loader::StoredTensor;
using nlohmann::ordered_json;

constexpr uint64_t kPieceBytes = 4 << 20;
constexpr absl::string_view kScaleSuffix = "_scale_inv";

bool IsScale(const StoredTensor& tensor) { return absl::EndsWith(tensor.name, kScaleSuffix); }
bool IsFp8(const StoredTensor& tensor) { return tensor.type == Name(DataType::kFloat8E4M3); }
uint64_t OutputBytes(const StoredTensor& tensor) {
  return IsFp8(tensor) ? 2 * tensor.bytes : tensor.bytes;
}

class Converter {
 public:
  Converter(const DequantizeOptions& options, loader::ServedModel model,
            std::unique_ptr<loader::RangeReader> reader)
      : options_(options), model_(std::move(model)), reader_(std::move(reader)) {
    for (const StoredTensor& tensor : checkpoint().tensors()) total_ += tensor.bytes;
  }

  absl::Status Run() {
    const loader::CheckpointFolder& folder = checkpoint().folder();
    std::set<std::string> written = {"config.json", std::string(loader::kIndexFileName)};
    const bool has_index = folder.Contains(std::string(loader::kIndexFileName));
    for (size_t file = 0; file < folder.num_files(); ++file) {
      if (!written.insert(folder.name(file)).second) continue;
      RETURN_IF_ERROR(WriteShard(file));
    }
    RETURN_IF_ERROR(CopyOthers(written));
    RETURN_IF_ERROR(WriteConfig());
    // Last: a folder without it does not pass for a checkpoint.
    return has_index ? WriteIndex() : absl::OkStatus();
  }

 private:
  const loader::Checkpoint& checkpoint() const { return *model_.checkpoint; }
  std::string OutputPath(absl::string_view name) const {
    return absl::StrCat(options_.output, "/", name);
  }

  std::vector<const StoredTensor*> KeptTensors(size_t file) const {
    std::vector<const StoredTensor*> kept;
    for (const StoredTensor& tensor : checkpoint().tensors()) {
      if (tensor.file == file && !IsScale(tensor)) kept.push_back(&tensor);
    }
    return kept;
  }

  static std::string Header(const std::vector<const StoredTensor*>& tensors) {
    ordered_json header = {{"__metadata__", {{"format", "pt"}}}};
    uint64_t offset = 0;
    for (const StoredTensor* tensor : tensors) {
      const uint64_t end = offset + OutputBytes(*tensor);
      header[tensor->name] = {{"dtype", IsFp8(*tensor) ? "BF16" : tensor->type},
                              {"shape", tensor->shape},
                              {"data_offsets", {offset, end}}};
      offset = end;
    }
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');  // data begins aligned
    std::string length(8, '\0');
    for (size_t i = 0; i < 8; ++i) length[i] = static_cast<char>(text.size() >> (8 * i));
    return length + text;
  }

  absl::Status WriteShard(size_t file) {
    const std::vector<const StoredTensor*> tensors = KeptTensors(file);
    ASSIGN_OR_RETURN(const std::unique_ptr<OutputFile> out,
                     OutputFile::Create(OutputPath(checkpoint().folder().name(file))));
    RETURN_IF_ERROR(out->Append(Header(tensors)));
    for (const StoredTensor* tensor : tensors) {
      RETURN_IF_ERROR(
          Annotate(IsFp8(*tensor) ? WriteDequantized(*tensor, *out) : WriteAsIs(*tensor, *out),
                   absl::StrCat("tensor \"", tensor->name, "\"")));
    }
    return out->Close();
  }

  absl::StatusOr<std::shared_ptr<loader::ReadBuffer>> Read(size_t file, uint64_t begin,
                                                           uint64_t bytes) {
    const loader::FileRange range = {begin, bytes, 0};
    return reader_->Read(file, {&range, 1}, bytes, loader::ReadScope());
  }

  absl::Status WriteAsIs(const StoredTensor& tensor, OutputFile& out) {
    for (uint64_t at = 0; at < tensor.bytes; at += kPieceBytes) {
      const uint64_t bytes = std::min(kPieceBytes, tensor.bytes - at);
      ASSIGN_OR_RETURN(const auto buffer, Read(tensor.file, tensor.begin + at, bytes));
      RETURN_IF_ERROR(out.Append(std::as_const(*buffer).span()));
      Advance(bytes);
    }
    return absl::OkStatus();
  }

  absl::Status WriteDequantized(const StoredTensor& tensor, OutputFile& out) {
    // The inventory check has proven that the scales exist, with this shape.
    const StoredTensor& scale = *checkpoint().Find(absl::StrCat(tensor.name, kScaleSuffix));
    ASSIGN_OR_RETURN(const auto scale_bytes, Read(scale.file, scale.begin, scale.bytes));
    BlockScales scales;
    scales.values = {reinterpret_cast<const float*>(scale_bytes->span().data()),
                     scale.bytes / sizeof(float)};
    scales.columns = static_cast<int64_t>(tensor.shape[1]);
    scales.block = model_.config.fp8_block_size;
    const uint64_t row_bytes = tensor.shape[1];
    const uint64_t rows_per_piece = std::max<uint64_t>(1, kPieceBytes / row_bytes);
    std::vector<BFloat16> values;
    for (uint64_t row = 0; row < tensor.shape[0]; row += rows_per_piece) {
      const uint64_t bytes = std::min(rows_per_piece, tensor.shape[0] - row) * row_bytes;
      ASSIGN_OR_RETURN(const auto buffer, Read(tensor.file, tensor.begin + row * row_bytes, bytes));
      values.resize(bytes);
      Dequantize({reinterpret_cast<const Float8E4M3*>(buffer->span().data()), bytes},
                 static_cast<int64_t>(row), scales, values);
      RETURN_IF_ERROR(out.Append(std::as_bytes(std::span<const BFloat16>(values))));
      Advance(bytes);
    }
    Advance(scale.bytes);
    return absl::OkStatus();
  }

  absl::Status WriteText(absl::string_view name, const std::string& text) {
    ASSIGN_OR_RETURN(const std::unique_ptr<OutputFile> out, OutputFile::Create(OutputPath(name)));
    RETURN_IF_ERROR(out->Append(text));
    return out->Close();
  }

  absl::Status WriteConfig() {
    ordered_json config = ordered_json::parse(model_.config_json, nullptr, false);
    config.erase("quantization_config");
    return WriteText("config.json", config.dump(2) + "\n");
  }

  absl::Status WriteIndex() {
    uint64_t total = 0;
    ordered_json map = ordered_json::object();
    for (const StoredTensor& tensor : checkpoint().tensors()) {
      if (IsScale(tensor)) continue;
      total += OutputBytes(tensor);
      map[tensor.name] = checkpoint().folder().name(tensor.file);
    }
    const ordered_json index = {{"metadata", {{"total_size", total}}}, {"weight_map", map}};
    return WriteText(loader::kIndexFileName, index.dump(2) + "\n");
  }

  absl::Status CopyOthers(const std::set<std::string>& written) {
    ASSIGN_OR_RETURN(const std::vector<std::string> names, checkpoint().folder().ListFiles());
    for (const std::string& name : names) {
      if (written.contains(name)) continue;
      std::error_code error;
      std::filesystem::copy_file(absl::StrCat(options_.input, "/", name), OutputPath(name), error);
      if (error) {
        return absl::UnavailableError(absl::StrCat("copying ", name, ": ", error.message()));
      }
    }
    return absl::OkStatus();
  }

  void Advance(uint64_t bytes) {
    done_ += bytes;
    if (options_.progress != nullptr) options_.progress(done_, total_);
  }

  const DequantizeOptions& options_;
  const loader::ServedModel model_;
  const std::unique_ptr<loader::RangeReader> reader_;
  uint64_t total_ = 0;
  uint64_t done_ = 0;
};

absl::Status PrepareOutput(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error || !std::filesystem::is_directory(path, error)) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not and cannot become a folder"));
  }
  if (!std::filesystem::is_empty(path, error) || error) {
    return absl::AlreadyExistsError(
        absl::StrCat(path, " is not empty; nothing is overwritten, name a new folder"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status DequantizeCheckpoint(const DequantizeOptions& options) {
  const loader::FolderOptions folder = {options.input, options.follow_links};
  ASSIGN_OR_RETURN(loader::ServedModel model, loader::OpenServedModel(folder, {}));
  if (!model.config.fp8_weights) {
    return absl::FailedPreconditionError(absl::StrCat(options.input,
                                                      " has no FP8 weights: its config.json has no "
                                                      "quantization_config"));
  }
  RETURN_IF_ERROR(PrepareOutput(options.output));
  loader::RangeReaderOptions reader_options;
  reader_options.num_threads = 1;
  reader_options.buffer_bytes = kPieceBytes;
  ASSIGN_OR_RETURN(std::unique_ptr<loader::RangeReader> reader,
                   loader::RangeReader::Create(reader_options, &model.checkpoint->folder()));
  RETURN_IF_ERROR(Converter(options, std::move(model), std::move(reader)).Run());
  return Annotate(loader::OpenServedModel({options.output}, {}).status(), "checking the result");
}

}  // namespace baton
