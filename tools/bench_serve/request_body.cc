#include "tools/bench_serve/request_body.h"

#include "nlohmann/json.hpp"

namespace baton::bench {

using Json = nlohmann::ordered_json;

std::string RequestBody(const BenchOptions& options, const std::string& model,
                        const Prompt& prompt) {
  Json body;
  body["model"] = model;
  if (options.api == Api::kChat) {
    body["messages"] = Json::array({{{"role", "user"}, {"content", prompt.text}}});
    body["max_completion_tokens"] = prompt.output_len;
  } else {
    if (prompt.token_ids.empty()) {
      body["prompt"] = prompt.text;
    } else {
      body["prompt"] = prompt.token_ids;
    }
    body["max_tokens"] = prompt.output_len;
  }
  body["stream"] = true;
  body["stream_options"] = {{"include_usage", true}};
  if (options.ignore_eos) body["ignore_eos"] = true;
  for (const auto& [field, number] : options.sampling) {
    // A chat asks for log-probabilities with a switch and a count.
    const bool of_chat = field == "logprobs" && options.api == Api::kChat;
    if (of_chat) body["logprobs"] = true;
    body[of_chat ? "top_logprobs" : field] = Json::parse(number, nullptr, false);
  }
  if (!options.extra_body.empty()) body.update(Json::parse(options.extra_body, nullptr, false));
  return body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace baton::bench
