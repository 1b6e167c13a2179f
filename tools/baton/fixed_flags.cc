#include "tools/baton/fixed_flags.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"

namespace baton {
namespace {

using Json = nlohmann::json;

// An empty object if there is none; whoever serves the model says what is wrong with it.
Json ReadConfig(const std::string& model_dir) {
  std::ifstream file(std::filesystem::path(model_dir) / "config.json");
  Json config = Json::parse(file, nullptr, /*allow_exceptions=*/false);
  return config.is_object() ? config : Json::object();
}

// Of quantization_config, such as "fp8"; empty: the weights are not quantized.
std::string QuantizationOf(const Json& config) {
  const auto found = config.find("quantization_config");
  if (found == config.end() || !found->is_object()) return "";
  const auto method = found->find("quant_method");
  return method == found->end() || !method->is_string() ? "" : method->get<std::string>();
}

// The values, as they may be written.
std::vector<std::string> ServedValues(absl::string_view name, const FixedFacts& facts) {
  if (name == "kv-cache-dtype") {
    if (facts.dtype == "float32") return {"auto"};
    return {"auto", "bfloat16"};
  }
  if (name == "quantization") {
    const std::string method = QuantizationOf(ReadConfig(facts.model_dir));
    if (method.empty()) return {"none", "None"};
    return {method, "none", "None"};  // none is that of config.json to vLLM too
  }
  if (name == "load-format") {
    return {"auto", "hf", "safetensors", "fastsafetensors", "runai_streamer"};
  }
  if (name == "tokenizer-mode") return {"auto", "hf", "slow"};
  if (name == "logprobs-mode") return {"raw_logprobs"};
  if (name == "task") return {"auto", "generate"};
  if (name == "chat-template-content-format") return {"auto", "string"};
  return {};
}

// Whether what it says of the config stands there already.
bool SaysWhatConfigSays(const std::string& value, const Json& config) {
  const Json said = Json::parse(value, nullptr, /*allow_exceptions=*/false);
  if (!said.is_object()) return false;
  return std::all_of(said.items().begin(), said.items().end(), [&config](const auto& entry) {
    const auto found = config.find(entry.key());
    return found != config.end() && *found == entry.value();
  });
}

}  // namespace

bool IsModelFolder(const std::string& value, const std::string& model_dir) {
  std::error_code error;
  return value == model_dir || std::filesystem::equivalent(value, model_dir, error);
}

absl::Status CheckFixedFlag(absl::string_view name, const std::string& value,
                            const FixedFacts& facts) {
  std::string wanted;
  bool is_served = false;
  if (name == "tokenizer") {
    wanted = "the model's own folder";
    is_served = IsModelFolder(value, facts.model_dir);
  } else if (name == "hf-overrides") {
    wanted = "what config.json says";
    is_served = SaysWhatConfigSays(value, ReadConfig(facts.model_dir));
  } else if (name == "rope-scaling") {
    wanted = "rope_scaling of config.json";
    const Json said = Json::parse(value, nullptr, /*allow_exceptions=*/false);
    is_served = said == ReadConfig(facts.model_dir).value("rope_scaling", Json());
  } else {
    const std::vector<std::string> values = ServedValues(name, facts);
    wanted = absl::StrJoin(values, ", ");
    is_served = std::find(values.begin(), values.end(), value) != values.end();
  }
  if (is_served) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--", name, " is \"", value, "\"; served here: ", wanted));
}

}  // namespace baton
