#include "services/model_loader/format/checkpoint_index.h"

#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

#include "common/status/status_macros.h"
#include "services/model_loader/source/checkpoint_folder.h"

namespace baton::loader {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 16;

// Keeps weight_map's pairs and walks over everything else.
class IndexReader final : public nlohmann::json_sax<json> {
 public:
  std::vector<IndexEntry> TakeEntries() { return std::move(entries_); }
  const absl::Status& status() const { return status_; }
  bool saw_map() const { return saw_map_; }

  bool null() override { return Other(); }
  bool boolean(bool) override { return Other(); }
  bool number_integer(number_integer_t) override { return Other(); }
  bool number_unsigned(number_unsigned_t) override { return Other(); }
  bool number_float(number_float_t, const string_t&) override { return Other(); }
  bool binary(binary_t&) override { return Other(); }

  bool string(string_t& value) override {
    if (!InMap()) return Other();
    const absl::Status plain = CheckPlainFileName(value);
    if (!plain.ok()) return Refuse(plain.message());
    if (!absl::EndsWith(value, ".safetensors")) {
      return Refuse(absl::StrCat("is said to be in \"", absl::CHexEscape(value),
                                 "\", which is no .safetensors file"));
    }
    entries_.push_back({key_, value});
    return true;
  }

  bool start_object(size_t) override {
    if (depth_ == 1 && key_ == "weight_map") {
      if (saw_map_) return Fail("weight_map stands there twice");
      saw_map_ = true;
      in_map_ = true;
    } else if (in_map_) {
      return Other();
    }
    return Enter();
  }
  bool end_object() override {
    if (--depth_ == 1) in_map_ = false;
    return true;
  }
  bool start_array(size_t) override {
    if (depth_ == 0) return Fail("it is not a JSON object");
    return in_map_ ? Other() : Enter();
  }
  bool end_array() override {
    --depth_;
    return true;
  }

  bool key(string_t& value) override {
    if (depth_ == 1 || InMap()) key_ = value;
    if (InMap() && !names_.insert(value).second) return Refuse("stands there twice");
    return true;
  }

  bool parse_error(size_t position, const std::string&, const json::exception&) override {
    return Fail(absl::StrCat("not valid JSON at byte ", position));
  }

 private:
  bool InMap() const { return in_map_ && depth_ == 2; }
  bool Other() {
    if (in_map_) return Refuse("has a file that is not a string");
    if (depth_ == 0) return Fail("it is not a JSON object");
    return depth_ != 1 || key_ != "weight_map" || Fail("weight_map is not an object");
  }
  bool Enter() { return ++depth_ <= kMaxDepth || Fail("nested too deeply"); }
  bool Refuse(absl::string_view fault) {
    return Fail(absl::StrCat("weight_map: tensor \"", absl::CHexEscape(key_.substr(0, 120)),
                             "\": ", fault));
  }
  bool Fail(absl::string_view fault) {
    if (status_.ok()) status_ = absl::InvalidArgumentError(fault);
    return false;
  }

  int depth_ = 0;
  bool saw_map_ = false;
  bool in_map_ = false;
  std::string key_;
  absl::flat_hash_set<std::string> names_;
  std::vector<IndexEntry> entries_;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<std::vector<IndexEntry>> ParseCheckpointIndex(absl::string_view text) {
  IndexReader reader;
  const bool complete = json::sax_parse(text.begin(), text.end(), &reader);
  if (!reader.status().ok()) return Annotate(reader.status(), kIndexFileName);
  if (!complete || !reader.saw_map()) {
    return absl::InvalidArgumentError(absl::StrCat(kIndexFileName, ": it has no weight_map"));
  }
  return reader.TakeEntries();
}

}  // namespace baton::loader
