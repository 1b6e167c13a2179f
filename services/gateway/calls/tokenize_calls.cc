#include "services/gateway/calls/tokenize_calls.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "common/status/status_macros.h"
#include "services/gateway/calls/request_checks.h"
#include "services/gateway/calls/text_call.h"
#include "services/gateway/json/strict_json.h"
#include "services/gateway/model/prompt_encoder.h"
#include "services/gateway/openai/answer_parts.h"
#include "services/gateway/openai/tokenize_request.h"

namespace baton::gateway {
namespace {

absl::StatusOr<std::string> ComputeTokens(const GatewayContext& context,
                                          const HttpRequest& http_request) {
  RETURN_IF_ERROR(CheckJsonContentType(http_request));
  ASSIGN_OR_RETURN(const TokenizeRequest request,
                   ParseTokenizeRequest(http_request.body, context.validator));
  RETURN_IF_ERROR(CheckModelName(context.model, request.model));
  std::vector<uint32_t> ids;
  if (request.chat) {
    ASSIGN_OR_RETURN(EncodedPrompt prompt, EncodeChat(context.model, *request.chat, SIZE_MAX));
    ids = std::move(prompt.token_ids);
  } else {
    ASSIGN_OR_RETURN(
        ids, EncodeText(context.model, request.prompt, request.add_special_tokens, SIZE_MAX));
  }
  Json json = {{"count", ids.size()},
               {"max_model_len", context.validator.max_model_len()},
               {"tokens", TokenIdsJson(ids)},
               {"token_strs", nullptr}};
  if (request.return_token_strs) {
    Json texts = Json::array();
    for (const uint32_t id : ids) texts.push_back(context.model.text.tokenizer->TokenText(id));
    json["token_strs"] = std::move(texts);
  }
  return DumpJson(json);
}

absl::StatusOr<std::string> ComputeText(const GatewayContext& context,
                                        const HttpRequest& http_request) {
  RETURN_IF_ERROR(CheckJsonContentType(http_request));
  ASSIGN_OR_RETURN(const DetokenizeRequest request,
                   ParseDetokenizeRequest(http_request.body, context.validator.caps()));
  RETURN_IF_ERROR(CheckModelName(context.model, request.model));
  std::string text;
  if (!request.tokens.empty()) {
    ASSIGN_OR_RETURN(const std::vector<uint32_t> ids,
                     context.validator.AdmitPromptTokens("tokens", request.tokens));
    text = context.model.text.tokenizer->Decode(ids, /*skip_special_tokens=*/false);
  }
  return DumpJson({{"prompt", std::move(text)}});
}

}  // namespace

std::unique_ptr<HttpCall> MakeTokenizeCall(const GatewayContext& context, HttpExchange& exchange) {
  return std::make_unique<TextCall>(
      context, exchange, TextCall::Options{.route = "/tokenize", .compute = ComputeTokens});
}

std::unique_ptr<HttpCall> MakeDetokenizeCall(const GatewayContext& context,
                                             HttpExchange& exchange) {
  return std::make_unique<TextCall>(
      context, exchange, TextCall::Options{.route = "/detokenize", .compute = ComputeText});
}

HttpResponse TokenizerInfo(const GatewayContext& context) {
  if (!context.tokenizer_info) {
    return ErrorResponse(404, "not served without --enable-tokenizer-info-endpoint",
                         "unknown_path");
  }
  const TokenizerConfig& config = context.model.text.config;
  const auto or_null = [](const std::string& text) {
    return text.empty() ? Json(nullptr) : Json(text);
  };
  HttpResponse response;
  response.body = DumpJson({{"tokenizer_class", or_null(config.tokenizer_class)},
                            {"vocab_size", context.model.text.tokenizer->vocab_size()},
                            {"model_max_length", context.validator.max_model_len()},
                            {"bos_token", or_null(config.bos_token)},
                            {"eos_token", or_null(config.eos_token)},
                            {"pad_token", or_null(config.pad_token)},
                            {"unk_token", or_null(config.unk_token)},
                            {"add_bos_token", config.add_bos_token},
                            {"chat_template", or_null(context.model.template_source)}});
  return response;
}

}  // namespace baton::gateway
