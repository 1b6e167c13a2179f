// The text side of the project for tests in Python: one JSON request a line on standard input, one
// JSON answer a line on standard output, in order. {"error": ...} is an answer as well.
//   {"op": "encode", "tokenizer": PATH, "hex": BYTES, "added_tokens": "all|not_special|none",
//    "bos": TEXT, "plain": [[begin, end], ...]}                           -> {"ids": [...]}
//   {"op": "decode", "tokenizer": PATH, "ids": [...], "skip": bool}       -> {"text": TEXT}
//   {"op": "detokenize", "tokenizer": PATH, "pieces": [[...]], "skip": bool} -> {"texts": [...]}
//   {"op": "render", "template": SOURCE, "context": {...}}                -> {"text": TEXT}
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

#include "common/chat_template/chat_template.h"
#include "common/tokenizer/incremental_detokenizer.h"
#include "common/tokenizer/tokenizer.h"

namespace baton {
namespace {

using nlohmann::ordered_json;

ordered_json ErrorAnswer(const absl::Status& status) {
  return {{"error", status.message()}, {"code", absl::StatusCodeToString(status.code())}};
}

class Probe {
 public:
  ordered_json Answer(const ordered_json& request) {
    const std::string op = request.at("op");
    if (op == "render") return Render(request);
    const std::string path = request.at("tokenizer");
    const std::string bos = request.value("bos", "");
    std::unique_ptr<Tokenizer>& tokenizer = tokenizers_[path + "\n" + bos];
    if (tokenizer == nullptr) {
      auto created = Tokenizer::CreateFromFile(path, {.bos_token = bos});
      if (!created.ok()) return ErrorAnswer(created.status());
      tokenizer = *std::move(created);
    }
    if (op == "encode") return Encode(*tokenizer, request);
    if (op == "decode") {
      const std::vector<uint32_t> ids = request.at("ids");
      return {{"text", tokenizer->Decode(ids, request.at("skip").get<bool>())}};
    }
    if (op == "detokenize") return Detokenize(*tokenizer, request);
    return {{"error", absl::StrCat("unknown op ", op)}};
  }

 private:
  static ordered_json Encode(const Tokenizer& tokenizer, const ordered_json& request) {
    EncodeOptions options;
    options.add_special_tokens = request.contains("bos");
    const std::string which = request.value("added_tokens", "all");
    if (which == "not_special") options.added_tokens = AddedTokenText::kNotSpecial;
    if (which == "none") options.added_tokens = AddedTokenText::kNone;
    std::vector<ByteRange> plain;
    for (const auto& range : request.value("plain", ordered_json::array())) {
      plain.push_back({range.at(0).get<size_t>(), range.at(1).get<size_t>()});
    }
    options.plain_ranges = plain;
    return {{"ids",
             tokenizer.Encode(absl::HexStringToBytes(request.at("hex").get<std::string>()), options)
                 .value()}};
  }

  static ordered_json Detokenize(const Tokenizer& tokenizer, const ordered_json& request) {
    IncrementalDetokenizer detokenizer(tokenizer, {request.at("skip").get<bool>()});
    ordered_json texts = ordered_json::array();
    for (const auto& piece : request.at("pieces")) {
      texts.push_back(detokenizer.Push(piece.get<std::vector<uint32_t>>()));
    }
    texts.push_back(detokenizer.Flush());
    return {{"texts", texts}};
  }

  ordered_json Render(const ordered_json& request) {
    const std::string source = request.at("template");
    std::unique_ptr<ChatTemplate>& compiled = templates_[source];
    if (compiled == nullptr) {
      auto created = ChatTemplate::Create(source);
      if (!created.ok()) return ErrorAnswer(created.status());
      compiled = *std::move(created);
    }
    const auto text = compiled->Render(request.at("context"));
    if (!text.ok()) return ErrorAnswer(text.status());
    return {{"text", *text}};
  }

  std::map<std::string, std::unique_ptr<Tokenizer>> tokenizers_;
  std::map<std::string, std::unique_ptr<ChatTemplate>> templates_;
};

}  // namespace
}  // namespace baton

int main() {
  baton::Probe probe;
  std::ios::sync_with_stdio(false);
  for (std::string line; std::getline(std::cin, line);) {
    try {
      std::cout << probe.Answer(nlohmann::ordered_json::parse(line)).dump() << std::endl;
    } catch (const nlohmann::json::exception& error) {
      std::cout << nlohmann::ordered_json{{"error", error.what()}}.dump() << std::endl;
    }
  }
  return 0;
}
