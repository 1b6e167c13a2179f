#include "services/model_loader/format/checkpoint.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "common/digest/sha256.h"
#include "common/status/status_macros.h"
#include "services/model_loader/format/checkpoint_index.h"
#include "services/model_loader/format/safetensors_header.h"

namespace baton::loader {
namespace {

// Enough for the header of most files in one read.
constexpr uint64_t kFirstReadBytes = 256 << 10;
// For the fingerprint: of how many tensors, how much of each, and how many in one call.
constexpr size_t kMostSamples = 2048;
constexpr uint64_t kSampleBytes = 4 << 10;
constexpr size_t kSamplesPerRead = 64;

absl::string_view Text(const ReadBuffer& buffer) {
  const std::span<const std::byte> bytes = buffer.span();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The first `bytes` of a file.
absl::StatusOr<std::shared_ptr<ReadBuffer>> ReadStart(RangeReader& reader, size_t file,
                                                      uint64_t bytes) {
  const FileRange range = {0, bytes, 0};
  return reader.Read(file, {&range, 1}, bytes, ReadScope());
}

std::string Describe(absl::string_view type, const std::vector<uint64_t>& shape) {
  return absl::StrCat(type, " [", absl::StrJoin(shape, ", "), "]");
}

std::vector<uint64_t> ShapeOf(const WeightSpec& spec) {
  if (spec.num_dimensions == 1) return {static_cast<uint64_t>(spec.columns)};
  return {static_cast<uint64_t>(spec.rows), static_cast<uint64_t>(spec.columns)};
}

}  // namespace

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::Open(const FolderOptions& folder_options,
                                                             const RangeReaderOptions& options) {
  ASSIGN_OR_RETURN(std::unique_ptr<CheckpointFolder> folder,
                   CheckpointFolder::Open(folder_options));
  std::unique_ptr<Checkpoint> checkpoint(new Checkpoint(std::move(folder)));
  ASSIGN_OR_RETURN(const std::unique_ptr<RangeReader> reader,
                   RangeReader::Create(options, checkpoint->folder_.get()));
  RETURN_IF_ERROR(checkpoint->AddFiles(*reader));
  return checkpoint;
}

absl::Status Checkpoint::AddFiles(RangeReader& reader) {
  const bool has_index = folder_->Contains(std::string(kIndexFileName));
  if (has_index) {
    RETURN_IF_ERROR(ReadIndex(reader));
  } else {
    const auto single = folder_->AddFile(std::string(kSingleFileName));
    if (absl::IsNotFound(single.status())) {
      return absl::NotFoundError(absl::StrCat(folder_->path(), " holds neither ", kIndexFileName,
                                              " nor ", kSingleFileName));
    }
    RETURN_IF_ERROR(single.status());
  }
  data_begin_.resize(folder_->num_files(), 0);
  // The index itself is file 0; it holds no tensors.
  for (size_t file = has_index ? 1 : 0; file < folder_->num_files(); ++file) {
    RETURN_IF_ERROR(AddHeader(reader, file));
  }
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const StoredTensor& tensor = tensors_[i];
    const auto [it, inserted] = by_name_.emplace(tensor.name, i);
    if (!inserted) {
      return absl::InvalidArgumentError(absl::StrCat("tensor \"", tensor.name, "\" is in ",
                                                     folder_->name(tensor.file), " and in ",
                                                     folder_->name(tensors_[it->second].file)));
    }
    total_bytes_ += tensor.bytes;
  }
  if (has_index) RETURN_IF_ERROR(AgreeWithIndex());
  return TakeSamples(reader);
}

absl::Status Checkpoint::ReadIndex(RangeReader& reader) {
  ASSIGN_OR_RETURN(const size_t index_file, folder_->AddFile(std::string(kIndexFileName)));
  const uint64_t bytes = folder_->size(index_file);
  if (bytes == 0 || bytes > kMaxIndexBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(kIndexFileName, " has ", bytes, " bytes; wanted 1 to ", kMaxIndexBytes));
  }
  ASSIGN_OR_RETURN(const std::shared_ptr<ReadBuffer> buffer, ReadStart(reader, index_file, bytes));
  ASSIGN_OR_RETURN(const std::vector<IndexEntry> entries, ParseCheckpointIndex(Text(*buffer)));
  absl::flat_hash_map<std::string, size_t> numbers;
  for (const IndexEntry& entry : entries) {
    auto it = numbers.find(entry.file);
    if (it == numbers.end()) {
      const absl::StatusOr<size_t> file = folder_->AddFile(entry.file);
      if (!file.ok()) {
        return absl::Status(file.status().code(),
                            absl::StrCat(file.status().message(), " (", kIndexFileName,
                                         " says that it holds tensor \"", entry.tensor, "\")"));
      }
      it = numbers.emplace(entry.file, *file).first;
    }
    file_of_.emplace(entry.tensor, it->second);
  }
  return absl::OkStatus();
}

absl::Status Checkpoint::AddHeader(RangeReader& reader, size_t file) {
  const uint64_t file_bytes = folder_->size(file);
  const std::string& name = folder_->name(file);
  if (file_bytes == 0) return absl::DataLossError(absl::StrCat(name, " is empty"));
  ASSIGN_OR_RETURN(std::shared_ptr<ReadBuffer> buffer,
                   ReadStart(reader, file, std::min(file_bytes, kFirstReadBytes)));
  const absl::StatusOr<uint64_t> length = ParseHeaderLength(buffer->span(), file_bytes);
  if (!length.ok()) return Annotate(length.status(), name);
  const uint64_t data_begin = kHeaderLengthBytes + *length;
  if (data_begin > buffer->span().size()) {
    ASSIGN_OR_RETURN(buffer, ReadStart(reader, file, data_begin));
  }
  const Sha256Digest header = Sha256(Text(*buffer).substr(0, data_begin));
  absl::StrAppend(&versions_, name, "\n", folder_->VersionOf(file), "\n", AsBytes(header));
  absl::StatusOr<std::vector<HeaderEntry>> entries =
      ParseHeader(Text(*buffer).substr(kHeaderLengthBytes, *length), file_bytes - data_begin);
  if (!entries.ok()) return Annotate(entries.status(), name);
  data_begin_[file] = data_begin;
  for (HeaderEntry& entry : *entries) {
    tensors_.push_back({std::move(entry.name), std::move(entry.type), std::move(entry.shape), file,
                        data_begin + entry.begin, entry.end - entry.begin});
  }
  return absl::OkStatus();
}

absl::Status Checkpoint::AgreeWithIndex() const {
  for (const StoredTensor& tensor : tensors_) {
    const auto it = file_of_.find(tensor.name);
    if (it != file_of_.end() && it->second == tensor.file) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor \"", tensor.name, "\" is in ", folder_->name(tensor.file), ", but ", kIndexFileName,
        it == file_of_.end() ? " does not name it"
                             : absl::StrCat(" says ", folder_->name(it->second))));
  }
  if (tensors_.size() == file_of_.size()) return absl::OkStatus();
  std::string missing;
  for (const auto& [name, file] : file_of_) {
    if (Find(name) == nullptr && (missing.empty() || name < missing)) missing = name;
  }
  return absl::InvalidArgumentError(absl::StrCat("tensor \"", missing, "\" is not in ",
                                                 folder_->name(file_of_.at(missing)), ", where ",
                                                 kIndexFileName, " says it is"));
}

absl::Status Checkpoint::TakeSamples(RangeReader& reader) {
  const size_t count = std::min(tensors_.size(), kMostSamples);
  const auto sampled = [&](size_t i) -> const StoredTensor& {
    return tensors_[i * tensors_.size() / count];
  };
  for (size_t i = 0; i < count;) {
    const size_t file = sampled(i).file;
    std::vector<FileRange> ranges;
    uint64_t bytes = 0;
    for (; i < count && sampled(i).file == file && ranges.size() < kSamplesPerRead; ++i) {
      const uint64_t part = std::min(sampled(i).bytes, kSampleBytes);
      if (part > 0) ranges.push_back({sampled(i).begin, part, bytes});
      bytes += part;
    }
    if (ranges.empty()) continue;
    ASSIGN_OR_RETURN(const std::shared_ptr<ReadBuffer> buffer,
                     reader.Read(file, ranges, bytes, ReadScope()));
    const Sha256Digest digest = Sha256(Text(*buffer).substr(0, bytes));
    absl::StrAppend(&versions_, AsBytes(digest));
  }
  return absl::OkStatus();
}

std::string Checkpoint::Fingerprint() const {
  return absl::BytesToHexString(AsBytes(Sha256(versions_)));
}

const StoredTensor* Checkpoint::Find(absl::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &tensors_[it->second];
}

absl::Status CheckAgainstInventory(const Checkpoint& checkpoint, const ModelConfig& config) {
  const std::vector<WeightSpec> specs = CheckpointInventory(config);
  absl::flat_hash_set<absl::string_view> wanted;
  for (const WeightSpec& spec : specs) {
    wanted.insert(spec.name);
    const StoredTensor* tensor = checkpoint.Find(spec.name);
    if (tensor == nullptr) {
      const bool mtp = spec.place == WeightPlace::kMtp;
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor \"", spec.name, "\" is missing",
          mtp ? "; it belongs to the MTP module that num_nextn_predict_layers announces" : ""));
    }
    const std::vector<uint64_t> shape = ShapeOf(spec);
    if (tensor->type != Name(spec.type) || tensor->shape != shape) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor \"", spec.name, "\" in ", checkpoint.folder().name(tensor->file),
                       " is ", Describe(tensor->type, tensor->shape), "; config.json wants ",
                       Describe(Name(spec.type), shape)));
    }
  }
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    if (wanted.contains(tensor.name)) continue;
    return absl::InvalidArgumentError(absl::StrCat("tensor \"", tensor.name, "\" in ",
                                                   checkpoint.folder().name(tensor.file),
                                                   " does not belong to the model of config.json"));
  }
  return absl::OkStatus();
}

}  // namespace baton::loader
