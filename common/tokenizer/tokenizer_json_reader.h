// One pass over tokenizer.json: the two large lists flat, the small rest as a JSON value.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "nlohmann/json.hpp"

#include "common/tokenizer/tokenizer_json.h"

namespace baton {

// Receives the events of nlohmann's parser. `model.vocab` and `model.merges` go to `spec` (the
// published vocabulary has 256,000 strings; as JSON values they would cost most of the load time);
// everything else becomes `rest()`.
class TokenizerJsonReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit TokenizerJsonReader(TokenizerSpec* spec) : spec_(*spec) {}

  bool null() override { return Scalar(nullptr); }
  bool boolean(bool value) override { return Scalar(value); }
  bool number_integer(number_integer_t value) override { return Scalar(value); }
  bool number_unsigned(number_unsigned_t value) override;
  bool number_float(number_float_t value, const string_t& text) override { return Scalar(value); }
  bool string(string_t& value) override;
  bool binary(binary_t& value) override { return Fail("binary value"); }
  bool start_object(size_t size) override;
  bool key(string_t& value) override;
  bool end_object() override;
  bool start_array(size_t size) override;
  bool end_array() override;
  bool parse_error(size_t position, const std::string& last_token,
                   const nlohmann::json::exception& error) override;

  const absl::Status& status() const { return status_; }
  const nlohmann::json& rest() const { return rest_; }

 private:
  enum class Section { kRest, kVocab, kMerges, kMergePair };

  bool Fail(const std::string& what);
  bool Scalar(nlohmann::json value);
  bool AddVocab(uint64_t id);
  bool AddMerge(const std::string& left, const std::string& right);
  bool AddMergeText(const std::string& text);
  bool Open(nlohmann::json container);
  nlohmann::json* Place(nlohmann::json value);
  bool InModel(const char* name) const;

  TokenizerSpec& spec_;
  absl::Status status_;
  Section section_ = Section::kRest;
  std::string key_;
  std::vector<std::string> pair_;  // of a merge written as an array
  nlohmann::json rest_;
  std::vector<nlohmann::json*> stack_;  // open containers of rest_, outermost first
  size_t num_values_ = 0;
};

}  // namespace baton
