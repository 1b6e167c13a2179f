#include "services/gateway/calls/model_calls.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "services/gateway/calls/request_checks.h"
#include "services/gateway/json/strict_json.h"
#include "services/gateway/openai/error_body.h"

namespace baton::gateway {
namespace {

Json ModelCard(const GatewayContext& context, const std::string& name) {
  const ServedModel& model = context.model;
  const Json permission = {{"id", absl::StrCat("modelperm-", model.fingerprint.substr(0, 32))},
                           {"object", "model_permission"},
                           {"created", model.created_unix_seconds},
                           {"allow_create_engine", false},
                           {"allow_sampling", true},
                           {"allow_logprobs", true},
                           {"allow_search_indices", false},
                           {"allow_view", true},
                           {"allow_fine_tuning", false},
                           {"organization", "*"},
                           {"group", nullptr},
                           {"is_blocking", false}};
  return {{"id", name},
          {"object", "model"},
          {"created", model.created_unix_seconds},
          {"owned_by", "baton"},
          {"root", model.names.front()},
          {"parent", nullptr},
          {"max_model_len", context.validator.max_model_len()},
          {"permission", Json::array({permission})}};
}

}  // namespace

HttpResponse ListModels(const GatewayContext& context) {
  Json cards = Json::array();
  for (const std::string& name : context.model.names) cards.push_back(ModelCard(context, name));
  HttpResponse response;
  response.body = DumpJson({{"object", "list"}, {"data", std::move(cards)}});
  return response;
}

HttpResponse DescribeModel(const GatewayContext& context, absl::string_view name) {
  // In a body no name stands for what is served.
  if (name.empty()) return ErrorResponse(404, "No model is named", "model_not_found");
  const absl::Status found = CheckModelName(context.model, name);
  if (!found.ok()) return ErrorResponse(found);
  HttpResponse response;
  response.body = DumpJson(ModelCard(context, std::string(name)));
  return response;
}

}  // namespace baton::gateway
