#include "common/model/speculative_config.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace baton {
namespace {

constexpr absl::string_view kExample = R"({"method":"mtp","num_speculative_tokens":1})";

absl::Status RefuseSpeculation(absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("--speculative-config: ", what, "; an example: ", kExample));
}

std::string TextOf(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

absl::Status CheckMethod(const nlohmann::json& root) {
  const auto method = root.find("method");
  if (method == root.end()) return RefuseSpeculation("\"method\" is missing");
  // The second name is that of older versions of vLLM.
  if (*method == "mtp" || *method == "deepseek_mtp") return absl::OkStatus();
  return RefuseSpeculation(absl::StrCat("\"method\" is ", TextOf(*method), "; supported: \"mtp\""));
}

}  // namespace

absl::StatusOr<uint32_t> ParseSpeculativeConfig(absl::string_view text, const ModelConfig& model) {
  if (text.empty()) return 0;
  const nlohmann::json root =
      nlohmann::json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) return RefuseSpeculation("it is no JSON object");
  if (absl::Status method = CheckMethod(root); !method.ok()) return method;
  for (const auto& [key, value] : root.items()) {
    if (key == "method" || key == "num_speculative_tokens") continue;
    return RefuseSpeculation(absl::StrCat(
        "\"", key, "\" is not supported; \"method\" and \"num_speculative_tokens\" are"));
  }
  if (model.num_mtp_layers == 0) {
    return absl::InvalidArgumentError(
        "--speculative-config: the model has no MTP module (num_nextn_predict_layers of its "
        "config.json is 0 or missing)");
  }
  const auto number = root.find("num_speculative_tokens");
  if (number == root.end()) return static_cast<uint32_t>(model.num_mtp_layers);
  if (!number->is_number_integer() || *number < 1 || *number > kMaxSpeculativeTokens) {
    return RefuseSpeculation(absl::StrCat("\"num_speculative_tokens\" is ", TextOf(*number),
                                          "; allowed: 1 to ", kMaxSpeculativeTokens));
  }
  return number->get<uint32_t>();
}

}  // namespace baton
