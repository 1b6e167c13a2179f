#include "common/tokenizer/tokenizer_json.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

#include "common/status/status_macros.h"
#include "common/tokenizer/tokenizer_json_reader.h"

namespace baton {
namespace {

using nlohmann::json;

// The pattern that ByteLevel with use_regex splits by.
// Source: GPT-2's published pre-tokenizer.
constexpr char kByteLevelPattern[] =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// The member, or null where it is absent.
const json& Member(const json& object, const char* key) {
  static const json kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

absl::Status WrongType(absl::string_view where, const char* key, absl::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat(where, ".", key, " is not ", expected));
}

absl::StatusOr<bool> Flag(const json& object, const char* key, absl::string_view where,
                          bool absent) {
  const json& value = Member(object, key);
  if (value.is_null()) return absent;
  if (!value.is_boolean()) return WrongType(where, key, "true or false");
  return value.get<bool>();
}

absl::StatusOr<std::string> Text(const json& object, const char* key, absl::string_view where) {
  const json& value = Member(object, key);
  if (!value.is_string()) return WrongType(where, key, "a text");
  return value.get<std::string>();
}

absl::StatusOr<uint32_t> TokenIdOf(const json& value, absl::string_view where) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() >= kMaxTokens) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, " is no token id (a whole number below ", kMaxTokens, ")"));
  }
  return value.get<uint32_t>();
}

absl::Status Unsupported(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(what, " is not supported"));
}

// The steps of a `Sequence`, or the one step that `node` is; `list` names the sequence's member.
absl::StatusOr<std::vector<const json*>> StepsOf(const json& node, const char* list,
                                                 absl::string_view where) {
  if (!node.is_object()) return absl::InvalidArgumentError(absl::StrCat(where, " is no object"));
  ASSIGN_OR_RETURN(const std::string type, Text(node, "type", where));
  if (type != "Sequence") return std::vector<const json*>{&node};
  const json& members = Member(node, list);
  if (!members.is_array()) return WrongType(where, list, "a list");
  std::vector<const json*> steps;
  for (const json& member : members) {
    if (!member.is_object()) return WrongType(where, list, "a list of objects");
    steps.push_back(&member);
  }
  return steps;
}

absl::Status ReadNormalizer(const json& root) {
  const json& normalizer = Member(root, "normalizer");
  if (normalizer.is_null()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const auto steps, StepsOf(normalizer, "normalizers", "normalizer"));
  if (steps.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string type, Text(*steps[0], "type", "normalizer"));
  return Unsupported(absl::StrCat("normalizer ", type));
}

absl::StatusOr<SplitSpec> ReadSplit(const json& step) {
  constexpr absl::string_view kWhere = "pre_tokenizer Split";
  SplitSpec split;
  const json& pattern = Member(step, "pattern");
  if (!pattern.is_object()) return WrongType(kWhere, "pattern", "an object");
  split.literal = pattern.contains("String");
  ASSIGN_OR_RETURN(split.pattern, Text(pattern, split.literal ? "String" : "Regex", kWhere));
  if (split.pattern.empty()) return WrongType(kWhere, "pattern", "a text of 1 byte or more");
  if (split.pattern.size() > kMaxPatternBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(kWhere, ".pattern is longer than ", kMaxPatternBytes, " bytes"));
  }
  ASSIGN_OR_RETURN(const std::string behavior, Text(step, "behavior", kWhere));
  if (behavior != "Isolated" && behavior != "Removed") {
    return Unsupported(absl::StrCat(kWhere, ".behavior ", behavior));
  }
  split.behavior = behavior == "Removed" ? SplitBehavior::kRemoved : SplitBehavior::kIsolated;
  ASSIGN_OR_RETURN(split.invert, Flag(step, "invert", kWhere, false));
  return split;
}

absl::Status ReadByteLevel(const json& step, TokenizerSpec& spec) {
  constexpr absl::string_view kWhere = "pre_tokenizer ByteLevel";
  ASSIGN_OR_RETURN(const bool add_prefix_space, Flag(step, "add_prefix_space", kWhere, true));
  if (add_prefix_space) return Unsupported(absl::StrCat(kWhere, ".add_prefix_space"));
  ASSIGN_OR_RETURN(const bool use_regex, Flag(step, "use_regex", kWhere, true));
  if (use_regex) spec.splits.push_back({.pattern = kByteLevelPattern});
  return absl::OkStatus();
}

absl::Status ReadPreTokenizer(const json& root, TokenizerSpec& spec) {
  ASSIGN_OR_RETURN(const auto steps,
                   StepsOf(Member(root, "pre_tokenizer"), "pretokenizers", "pre_tokenizer"));
  bool byte_level = false;
  for (const json* step : steps) {
    ASSIGN_OR_RETURN(const std::string type, Text(*step, "type", "pre_tokenizer"));
    if (byte_level) return Unsupported(absl::StrCat("pre_tokenizer ", type, " after ByteLevel"));
    if (type == "Split") {
      ASSIGN_OR_RETURN(SplitSpec split, ReadSplit(*step));
      spec.splits.push_back(std::move(split));
    } else if (type == "ByteLevel") {
      RETURN_IF_ERROR(ReadByteLevel(*step, spec));
      byte_level = true;
    } else {
      return Unsupported(absl::StrCat("pre_tokenizer ", type));
    }
  }
  if (!byte_level) return Unsupported("a pre_tokenizer without ByteLevel");
  return absl::OkStatus();
}

absl::Status ReadDecoder(const json& root) {
  const json& decoder = Member(root, "decoder");
  if (!decoder.is_object()) return Unsupported("a tokenizer without a decoder object");
  ASSIGN_OR_RETURN(const std::string type, Text(decoder, "type", "decoder"));
  return type == "ByteLevel" ? absl::OkStatus() : Unsupported(absl::StrCat("decoder ", type));
}

// `single` of a TemplateProcessing: special tokens around the one sequence $A.
absl::Status ReadTemplate(const json& node, TokenizerSpec& spec) {
  constexpr absl::string_view kWhere = "post_processor TemplateProcessing";
  const json& pieces = Member(node, "single");
  if (!pieces.is_array()) return WrongType(kWhere, "single", "a list");
  bool sequence_seen = false;
  for (const json& piece : pieces) {
    if (!piece.is_object()) return WrongType(kWhere, "single", "a list of objects");
    if (piece.contains("Sequence")) {
      if (std::exchange(sequence_seen, true)) return Unsupported("a template with two sequences");
      continue;
    }
    const json& special = Member(piece, "SpecialToken");
    if (!special.is_object()) return WrongType(kWhere, "single", "special tokens and a sequence");
    ASSIGN_OR_RETURN(const std::string name, Text(special, "id", kWhere));
    const json& tokens = Member(node, "special_tokens");
    if (!tokens.is_object()) return WrongType(kWhere, "special_tokens", "an object");
    const json& token = Member(tokens, name.c_str());
    const json& ids = token.is_object() ? Member(token, "ids") : token;
    if (!ids.is_array()) {
      return absl::InvalidArgumentError(absl::StrCat(kWhere, ".special_tokens lacks ", name));
    }
    for (const json& id : ids) {
      ASSIGN_OR_RETURN(const uint32_t value, TokenIdOf(id, absl::StrCat(kWhere, " ", name)));
      (sequence_seen ? spec.suffix : spec.prefix).push_back(value);
    }
  }
  return absl::OkStatus();
}

absl::Status ReadPostProcessor(const json& root, TokenizerSpec& spec) {
  const json& processor = Member(root, "post_processor");
  if (processor.is_null()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const auto steps, StepsOf(processor, "processors", "post_processor"));
  bool has_template = false;
  for (const json* step : steps) {
    ASSIGN_OR_RETURN(const std::string type, Text(*step, "type", "post_processor"));
    if (type == "ByteLevel") continue;  // moves offsets only
    if (type != "TemplateProcessing" || std::exchange(has_template, true)) {
      return Unsupported(absl::StrCat("post_processor ", type));
    }
    RETURN_IF_ERROR(ReadTemplate(*step, spec));
  }
  return absl::OkStatus();
}

// Members of the model that change what merging does, at values other than the neutral ones.
absl::Status ReadModel(const json& root, TokenizerSpec& spec) {
  const json& model = Member(root, "model");
  if (!model.is_object()) return absl::InvalidArgumentError("model is no object");
  if (const json& type = Member(model, "type"); !type.is_null() && type != "BPE") {
    return Unsupported(absl::StrCat("model.type ", type.dump(-1, ' ', true)));
  }
  const json& dropout = Member(model, "dropout");
  if (!dropout.is_null() && dropout != 0.0) return Unsupported("model.dropout");
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const json& value = Member(model, affix);
    if (!value.is_null() && value != "") return Unsupported(absl::StrCat("model.", affix));
  }
  ASSIGN_OR_RETURN(const bool byte_fallback, Flag(model, "byte_fallback", "model", false));
  if (byte_fallback) return Unsupported("model.byte_fallback");
  ASSIGN_OR_RETURN(spec.ignore_merges, Flag(model, "ignore_merges", "model", false));
  if (spec.vocab.empty()) return absl::InvalidArgumentError("model.vocab is absent or empty");
  return absl::OkStatus();
}

absl::Status ReadAddedTokens(const json& root, TokenizerSpec& spec) {
  const json& tokens = Member(root, "added_tokens");
  if (tokens.is_null()) return absl::OkStatus();
  if (!tokens.is_array()) return absl::InvalidArgumentError("added_tokens is no list");
  for (const json& token : tokens) {
    const std::string where = absl::StrCat("added_tokens[", spec.added_tokens.size(), "]");
    if (!token.is_object()) return absl::InvalidArgumentError(absl::StrCat(where, " is no object"));
    AddedTokenSpec added;
    ASSIGN_OR_RETURN(added.id, TokenIdOf(Member(token, "id"), absl::StrCat(where, ".id")));
    ASSIGN_OR_RETURN(added.content, Text(token, "content", where));
    if (added.content.empty() || added.content.size() > kMaxAddedTokenBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, ".content has not 1 to ", kMaxAddedTokenBytes, " bytes"));
    }
    ASSIGN_OR_RETURN(added.single_word, Flag(token, "single_word", where, false));
    ASSIGN_OR_RETURN(added.lstrip, Flag(token, "lstrip", where, false));
    ASSIGN_OR_RETURN(added.rstrip, Flag(token, "rstrip", where, false));
    ASSIGN_OR_RETURN(added.special, Flag(token, "special", where, false));
    ASSIGN_OR_RETURN(added.normalized, Flag(token, "normalized", where, !added.special));
    spec.added_tokens.push_back(std::move(added));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenizerSpec> ParseTokenizerJson(absl::string_view text) {
  if (text.size() > kMaxTokenizerFileBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(text.size(), " bytes; at most ", kMaxTokenizerFileBytes, " are read"));
  }
  TokenizerSpec spec;
  spec.text.reserve(text.size() / 2);
  TokenizerJsonReader reader(&spec);
  if (!json::sax_parse(text.begin(), text.end(), &reader)) return reader.status();
  const json& root = reader.rest();
  if (!root.is_object()) return absl::InvalidArgumentError("the file holds no JSON object");
  RETURN_IF_ERROR(ReadModel(root, spec));
  RETURN_IF_ERROR(ReadNormalizer(root));
  RETURN_IF_ERROR(ReadPreTokenizer(root, spec));
  RETURN_IF_ERROR(ReadPostProcessor(root, spec));
  RETURN_IF_ERROR(ReadDecoder(root));
  RETURN_IF_ERROR(ReadAddedTokens(root, spec));
  return spec;
}

}  // namespace baton
