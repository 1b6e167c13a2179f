#include "services/model_loader/format/safetensors_header.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

#include "common/status/status_macros.h"

namespace baton::loader {
namespace {

using nlohmann::json;

constexpr size_t kMaxTensors = 1'000'000;
constexpr size_t kMaxShownBytes = 120;

std::string Quote(absl::string_view text) {
  return absl::StrCat("\"", absl::CHexEscape(text.substr(0, kMaxShownBytes)), "\"");
}

// Reads the header's JSON token by token, so that its depth and size cost nothing and duplicate
// keys are seen. Each function returns false to stop.
class HeaderReader final : public nlohmann::json_sax<json> {
 public:
  std::vector<HeaderEntry> TakeEntries() { return std::move(entries_); }
  const absl::Status& status() const { return status_; }

  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("true or false"); }
  bool number_integer(number_integer_t) override { return Unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override {
    return Unexpected("a number that is no integer");
  }
  bool binary(binary_t&) override { return Unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (state_ == State::kShape) {
      if (entry_.shape.size() == kMaxDimensions) return Refuse("has too many dimensions");
      entry_.shape.push_back(value);
      return true;
    }
    if (state_ == State::kOffsets) {
      if (num_offsets_ == 2) return Refuse("has more than two data_offsets");
      (num_offsets_++ == 0 ? entry_.begin : entry_.end) = value;
      return true;
    }
    return Unexpected("a number");
  }

  bool string(string_t& value) override {
    if (state_ == State::kMetadata) return true;
    if (state_ != State::kTensor || field_ != "dtype") return Unexpected("a string");
    if (ElementBytes(value) == 0) return Refuse(absl::StrCat("has unknown dtype ", Quote(value)));
    entry_.type = value;
    return true;
  }

  bool start_object(size_t) override {
    if (state_ == State::kStart) {
      state_ = State::kTop;
      return true;
    }
    if (state_ != State::kTop) return Unexpected("an object");
    state_ = entry_.name == "__metadata__" ? State::kMetadata : State::kTensor;
    return true;
  }

  bool key(string_t& value) override {
    if (state_ == State::kTop) return StartEntry(value);
    if (state_ == State::kMetadata) {
      return metadata_keys_.insert(value).second ||
             Refuse(absl::StrCat("has key ", Quote(value), " twice"));
    }
    if (value != "dtype" && value != "shape" && value != "data_offsets") {
      return Refuse(absl::StrCat("has unknown field ", Quote(value)));
    }
    if (!fields_.insert(value).second) return Refuse(absl::StrCat("has field ", value, " twice"));
    field_ = value;
    return true;
  }

  bool end_object() override {
    if (state_ == State::kTop) {
      state_ = State::kEnd;
      return true;
    }
    const bool tensor = state_ == State::kTensor;
    state_ = State::kTop;
    if (!tensor) return true;
    if (fields_.size() != 3) return Refuse("lacks dtype, shape or data_offsets");
    entries_.push_back(std::exchange(entry_, {}));
    return true;
  }

  bool start_array(size_t) override {
    if (state_ != State::kTensor || field_ == "dtype" || field_.empty()) {
      return Unexpected("an array");
    }
    state_ = field_ == "shape" ? State::kShape : State::kOffsets;
    return true;
  }

  bool end_array() override {
    if (state_ == State::kOffsets && num_offsets_ != 2) return Refuse("lacks two data_offsets");
    state_ = State::kTensor;
    field_.clear();
    return true;
  }

  bool parse_error(size_t position, const std::string&, const json::exception&) override {
    if (status_.ok()) {
      status_ = absl::InvalidArgumentError(
          absl::StrCat("the header is not valid JSON at byte ", position));
    }
    return false;
  }

 private:
  enum class State { kStart, kTop, kMetadata, kTensor, kShape, kOffsets, kEnd };

  bool StartEntry(const std::string& name) {
    entry_ = {};
    entry_.name = name;
    fields_.clear();
    field_.clear();
    num_offsets_ = 0;
    if (name.empty() || name.size() > kMaxTensorNameBytes) {
      return Refuse("has a name that is empty or too long");
    }
    if (!names_.insert(name).second) return Refuse("stands there twice");
    return names_.size() <= kMaxTensors || Refuse("is one tensor too many");
  }

  bool Refuse(absl::string_view fault) {
    status_ = absl::InvalidArgumentError(absl::StrCat("tensor ", Quote(entry_.name), " ", fault));
    return false;
  }

  bool Unexpected(absl::string_view what) {
    if (state_ == State::kStart) {
      status_ = absl::InvalidArgumentError("the header is not a JSON object");
      return false;
    }
    return Refuse(absl::StrCat("has ", what, " where it does not belong"));
  }

  State state_ = State::kStart;
  HeaderEntry entry_;
  std::string field_;  // of the tensor; whose value comes next
  int num_offsets_ = 0;
  absl::flat_hash_set<std::string> fields_;
  absl::flat_hash_set<std::string> names_;
  absl::flat_hash_set<std::string> metadata_keys_;
  std::vector<HeaderEntry> entries_;
  absl::Status status_;
};

absl::Status CheckEntry(const HeaderEntry& entry, uint64_t data_bytes) {
  const auto refuse = [&entry](absl::string_view fault) {
    return absl::InvalidArgumentError(absl::StrCat("tensor ", Quote(entry.name), " ", fault));
  };
  if (entry.begin > entry.end) return refuse("ends before it begins");
  if (entry.end > data_bytes) {
    return absl::DataLossError(absl::StrCat("tensor ", Quote(entry.name), " ends at byte ",
                                            entry.end, " of the data, of which the file has ",
                                            data_bytes, ": truncated?"));
  }
  uint64_t bytes = ElementBytes(entry.type);
  for (const uint64_t size : entry.shape) {
    if (__builtin_mul_overflow(bytes, size, &bytes)) return refuse("has a shape that overflows");
  }
  if (bytes != entry.end - entry.begin) {
    return refuse(absl::StrCat("needs ", bytes,
                               " bytes by type and shape, but its data_offsets give ",
                               entry.end - entry.begin));
  }
  return absl::OkStatus();
}

// What a file may be that is no safetensors file, by its first bytes.
absl::string_view GuessFormat(absl::string_view start) {
  if (absl::StartsWith(start, "GGUF")) return " (it is a GGUF file)";
  if (absl::StartsWith(start, "PK\x03\x04")) return " (it is a zip or PyTorch file)";
  if (absl::StartsWith(start, "version ")) {
    return " (it is a Git LFS pointer: fetch the file that it stands for)";
  }
  if (absl::StartsWith(start, "<!DOCTYP") || absl::StartsWith(start, "<html")) {
    return " (it is a web page)";
  }
  return "";
}

}  // namespace

uint64_t ElementBytes(absl::string_view type) {
  if (type == "F32" || type == "I32" || type == "U32") return 4;
  if (type == "BF16" || type == "F16" || type == "I16" || type == "U16") return 2;
  if (type == "F8_E4M3" || type == "F8_E5M2" || type == "I8" || type == "U8" || type == "BOOL" ||
      type == "F8_E8M0") {
    return 1;
  }
  if (type == "F64" || type == "I64" || type == "U64") return 8;
  return 0;
}

absl::StatusOr<uint64_t> ParseHeaderLength(std::span<const std::byte> start, uint64_t file_bytes) {
  if (start.size() < kHeaderLengthBytes || file_bytes < kHeaderLengthBytes) {
    return absl::DataLossError(
        absl::StrCat("the file has ", file_bytes, " bytes, too few for a safetensors header"));
  }
  uint64_t length = 0;
  for (size_t i = kHeaderLengthBytes; i > 0; --i) {
    length = length << 8 | static_cast<uint64_t>(start[i - 1]);
  }
  const absl::string_view text(reinterpret_cast<const char*>(start.data()), start.size());
  if (length > kMaxHeaderBytes) {
    return absl::InvalidArgumentError(absl::StrCat("not a safetensors file", GuessFormat(text),
                                                   ": its header would have ", length,
                                                   " bytes; the limit is ", kMaxHeaderBytes));
  }
  if (length < 2) return absl::InvalidArgumentError("not a safetensors file: its header is empty");
  if (length > file_bytes - kHeaderLengthBytes) {
    return absl::DataLossError(absl::StrCat(
        "the file has ", file_bytes, " bytes, but its header alone ", length, ": truncated?"));
  }
  return length;
}

absl::StatusOr<std::vector<HeaderEntry>> ParseHeader(absl::string_view text, uint64_t data_bytes) {
  if (text.empty() || text.front() != '{') {
    return absl::InvalidArgumentError("not a safetensors file: the header does not begin with '{'");
  }
  HeaderReader reader;
  const bool complete = json::sax_parse(text.begin(), text.end(), &reader);
  RETURN_IF_ERROR(reader.status());
  if (!complete) return absl::InvalidArgumentError("the header is not valid JSON");
  std::vector<HeaderEntry> entries = reader.TakeEntries();
  for (const HeaderEntry& entry : entries) RETURN_IF_ERROR(CheckEntry(entry, data_bytes));
  std::sort(entries.begin(), entries.end(), [](const HeaderEntry& a, const HeaderEntry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t next = 0;
  for (const HeaderEntry& entry : entries) {
    if (entry.begin != next) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor ", Quote(entry.name), " begins at byte ", entry.begin, " of the data, ",
          entry.begin < next ? "inside the tensor before it" : "behind a hole", ": expected ",
          next));
    }
    next = entry.end;
  }
  if (next != data_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the file has ", data_bytes - next, " bytes behind its last tensor"));
  }
  return entries;
}

}  // namespace baton::loader
