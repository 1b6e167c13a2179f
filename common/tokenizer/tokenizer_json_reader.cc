#include "common/tokenizer/tokenizer_json_reader.h"

#include "absl/strings/str_cat.h"

namespace baton {
namespace {

// The part outside vocabulary and merges: added tokens are nine values each.
constexpr size_t kMaxRestValues = 1'000'000;
constexpr size_t kMaxRestDepth = 32;

}  // namespace

bool TokenizerJsonReader::Fail(const std::string& what) {
  status_ = absl::InvalidArgumentError(what);
  return false;
}

bool TokenizerJsonReader::parse_error(size_t position, const std::string& last_token,
                                      const nlohmann::json::exception& error) {
  return Fail(absl::StrCat("not valid JSON at byte ", position, ": ", error.what()));
}

bool TokenizerJsonReader::InModel(const char* name) const {
  if (stack_.size() != 2 || key_ != name) return false;
  const auto model = rest_.find("model");
  return model != rest_.end() && &*model == stack_[1];
}

// Puts `value` where the innermost open container expects one; null when that breaks a limit.
nlohmann::json* TokenizerJsonReader::Place(nlohmann::json value) {
  if (++num_values_ > kMaxRestValues) {
    Fail(absl::StrCat("more than ", kMaxRestValues, " values beside vocabulary and merges"));
    return nullptr;
  }
  if (stack_.empty()) {
    rest_ = std::move(value);
    return &rest_;
  }
  nlohmann::json& container = *stack_.back();
  if (container.is_array()) {
    container.push_back(std::move(value));
    return &container.back();
  }
  const auto [place, added] = container.emplace(key_, std::move(value));
  if (!added) {
    Fail(absl::StrCat("key \"", key_, "\" stands twice in one object"));
    return nullptr;
  }
  return &*place;
}

bool TokenizerJsonReader::Scalar(nlohmann::json value) {
  switch (section_) {
    case Section::kRest:
      return Place(std::move(value)) != nullptr;
    case Section::kVocab:
      return Fail(absl::StrCat("model.vocab: the id of \"", key_, "\" is no whole number >= 0"));
    default:
      return Fail(absl::StrCat("model.merges: entry ", spec_.merges.size(), " is no text"));
  }
}

bool TokenizerJsonReader::number_unsigned(number_unsigned_t value) {
  return section_ == Section::kVocab ? AddVocab(value) : Scalar(value);
}

bool TokenizerJsonReader::string(string_t& value) {
  if (section_ == Section::kMerges) return AddMergeText(value);
  if (section_ != Section::kMergePair) return Scalar(std::move(value));
  pair_.push_back(std::move(value));
  return pair_.size() <= 2 || Fail(absl::StrCat("model.merges: entry ", spec_.merges.size(),
                                                " has more than two parts"));
}

bool TokenizerJsonReader::AddVocab(uint64_t id) {
  if (id >= kMaxTokens) {
    return Fail(absl::StrCat("model.vocab: id ", id, " is not below ", kMaxTokens));
  }
  if (spec_.vocab.size() >= kMaxTokens) {
    return Fail(absl::StrCat("model.vocab: more than ", kMaxTokens, " tokens"));
  }
  spec_.vocab.push_back({static_cast<uint32_t>(spec_.text.size()),
                         static_cast<uint32_t>(key_.size()), static_cast<uint32_t>(id)});
  spec_.text += key_;
  return true;
}

bool TokenizerJsonReader::AddMergeText(const std::string& text) {
  const size_t space = text.find(' ');
  if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
    return Fail(absl::StrCat("model.merges: entry ", spec_.merges.size(), " \"", text,
                             "\" is not two parts with a space between them"));
  }
  return AddMerge(text.substr(0, space), text.substr(space + 1));
}

bool TokenizerJsonReader::AddMerge(const std::string& left, const std::string& right) {
  if (spec_.merges.size() >= kMaxMerges) {
    return Fail(absl::StrCat("model.merges: more than ", kMaxMerges, " entries"));
  }
  if (left.empty() || right.empty()) {
    return Fail(absl::StrCat("model.merges: entry ", spec_.merges.size(), " has an empty part"));
  }
  spec_.merges.push_back({static_cast<uint32_t>(spec_.text.size()),
                          static_cast<uint32_t>(left.size()), static_cast<uint32_t>(right.size())});
  spec_.text += left;
  spec_.text += right;
  return true;
}

bool TokenizerJsonReader::Open(nlohmann::json container) {
  if (stack_.size() >= kMaxRestDepth) {
    return Fail(absl::StrCat("more than ", kMaxRestDepth, " levels of nesting"));
  }
  nlohmann::json* const place = Place(std::move(container));
  if (place == nullptr) return false;
  stack_.push_back(place);
  return true;
}

bool TokenizerJsonReader::start_object(size_t) {
  if (section_ != Section::kRest) return Scalar(nullptr);
  if (!InModel("vocab")) return Open(nlohmann::json::object());
  section_ = Section::kVocab;
  return spec_.vocab.empty() || Fail("model.vocab stands twice");
}

bool TokenizerJsonReader::start_array(size_t) {
  if (section_ == Section::kMerges) {
    section_ = Section::kMergePair;
    pair_.clear();
    return true;
  }
  if (section_ != Section::kRest) return Scalar(nullptr);
  if (!InModel("merges")) return Open(nlohmann::json::array());
  section_ = Section::kMerges;
  return spec_.merges.empty() || Fail("model.merges stands twice");
}

bool TokenizerJsonReader::key(string_t& value) {
  key_ = std::move(value);
  return true;
}

bool TokenizerJsonReader::end_object() {
  if (section_ == Section::kVocab) {
    section_ = Section::kRest;
  } else {
    stack_.pop_back();
  }
  return true;
}

bool TokenizerJsonReader::end_array() {
  if (section_ == Section::kMergePair) {
    section_ = Section::kMerges;
    if (pair_.size() == 2) return AddMerge(pair_[0], pair_[1]);
    return Fail(absl::StrCat("model.merges: entry ", spec_.merges.size(), " has not two parts"));
  }
  if (section_ == Section::kMerges) {
    section_ = Section::kRest;
  } else {
    stack_.pop_back();
  }
  return true;
}

}  // namespace baton
