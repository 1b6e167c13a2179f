#include "services/gateway/openai/request_fields.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "common/log/log.h"
#include "services/gateway/openai/structured_fields.h"

namespace baton::gateway {
namespace {

void ReadStop(FieldReader& reader, RequestedParams* params) {
  const Json* stop = reader.FindSet("stop");
  if (stop == nullptr) return;
  if (stop->is_string()) {
    params->stop = {stop->get<std::string>()};
    return;
  }
  if (!stop->is_array()) {
    return reader.Fail("stop", absl::StrCat("must be a string or a list of strings, not ",
                                            DescribeJsonType(*stop)));
  }
  reader.Read("stop", &params->stop);
}

void ReadLogitBias(FieldReader& reader, RequestedParams* params) {
  const Json* bias = reader.FindSet("logit_bias");
  if (bias == nullptr) return;
  if (!bias->is_object()) {
    return reader.Fail("logit_bias",
                       absl::StrCat("must be an object, not ", DescribeJsonType(*bias)));
  }
  for (const auto& [key, value] : *bias->get_ptr<const Json::object_t*>()) {
    TokenBias entry;
    if (!absl::SimpleAtoi(key, &entry.token_id) || !value.is_number()) {
      return reader.Fail("logit_bias", absl::StrCat("must map token ids to numbers, not \"", key,
                                                    "\" to ", DescribeJsonType(value)));
    }
    entry.bias = value.get<double>();
    params->logit_bias.push_back(entry);
  }
}

void ReadSeed(FieldReader& reader, RequestedParams* params) {
  std::optional<int64_t> seed;
  reader.Read("seed", &seed);
  if (seed && *seed != -1) params->seed = static_cast<uint64_t>(*seed);  // -1: none
}

}  // namespace

void ReadSamplingFields(FieldReader& reader, RequestedParams* params) {
  reader.Read("min_tokens", &params->min_tokens);
  reader.Read("temperature", &params->temperature);
  reader.Read("top_p", &params->top_p);
  reader.Read("top_k", &params->top_k);
  reader.Read("min_p", &params->min_p);
  reader.Read("presence_penalty", &params->presence_penalty);
  reader.Read("frequency_penalty", &params->frequency_penalty);
  reader.Read("repetition_penalty", &params->repetition_penalty);
  reader.Read("n", &params->num_choices);
  ReadSeed(reader, params);
  ReadStop(reader, params);
  reader.Read("stop_token_ids", &params->stop_token_ids);
  reader.Read("ignore_eos", &params->ignore_eos);
  reader.Read("include_stop_str_in_output", &params->include_stop);
  reader.Read("skip_special_tokens", &params->skip_special_tokens);
  reader.Read("prompt_logprobs", &params->num_prompt_logprobs);
  ReadLogitBias(reader, params);
  ReadStructuredFields(reader, params);
  reader.Read("bad_words", &params->bad_words);
  reader.Read("thinking_token_budget", &params->thinking_token_budget);
  if (reader.FindSet("allowed_token_ids") != nullptr) {
    params->allowed_token_ids.emplace();
    reader.Read("allowed_token_ids", &*params->allowed_token_ids);
  }
  reader.Read("priority", &params->priority);
  if (const Json* salt = reader.FindSet("cache_salt"); salt != nullptr) {
    reader.Read("cache_salt", &params->cache_salt);
    if (params->cache_salt.empty()) reader.Fail("cache_salt", "must be a non-empty string");
  }
  reader.Read("truncate_prompt_tokens", &params->truncate_prompt_tokens);
  if (reader.FindSet("truncation_side") != nullptr) {
    reader.Read("truncation_side", &params->truncation_side);
  }
  if (const Json* best_of = reader.FindSet("best_of"); best_of != nullptr) {
    if (JsonInteger(*best_of) != params->num_choices) {
      reader.Fail("best_of", "is not supported by this server other than equal to n");
    }
  }
}

StreamFields ReadStreamFields(FieldReader& reader, const RequestCaps& caps) {
  StreamFields fields;
  reader.Read("stream", &fields.stream);
  reader.Read("stream_interval", &fields.interval);
  if (fields.interval < 1 || fields.interval > caps.stream_interval) {
    reader.Fail("stream_interval",
                absl::StrCat("must be from 1 to ", caps.stream_interval, " (",
                             CapFlag(&RequestCaps::stream_interval), "), got ", fields.interval));
  }
  const Json* options = reader.FindSet("stream_options");
  if (options == nullptr) return fields;
  if (!options->is_object()) {
    reader.Fail("stream_options",
                absl::StrCat("must be an object, not ", DescribeJsonType(*options)));
    return fields;
  }
  if (!fields.stream) reader.Fail("stream_options", "can only be given with stream=true");
  FieldReader inner(*options);
  inner.Read("include_usage", &fields.include_usage);
  inner.Read("continuous_usage_stats", &fields.continuous_usage);
  LogUnknownFields(inner, "stream_options");
  if (!inner.status().ok()) {
    reader.Fail("stream_options", absl::StrCat("is wrong: ", inner.status().message()));
  }
  if (fields.continuous_usage && !fields.include_usage) {
    reader.Fail("stream_options", "needs include_usage for continuous_usage_stats");
  }
  return fields;
}

OutputFields ReadOutputFields(FieldReader& reader) {
  OutputFields fields;
  reader.Read("return_token_ids", &fields.return_token_ids);
  reader.Read("return_tokens_as_token_ids", &fields.tokens_as_token_ids);
  return fields;
}

std::string ReadRequestId(FieldReader& reader, const RequestCaps& caps) {
  std::string id;
  reader.Read("request_id", &id);
  const bool plain = std::all_of(id.begin(), id.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           absl::StrContains("-_.:", absl::string_view(&c, 1));
  });
  if (plain && id.size() <= static_cast<size_t>(caps.request_id_bytes)) return id;
  reader.Fail("request_id", absl::StrCat("must be at most ", caps.request_id_bytes, " (",
                                         CapFlag(&RequestCaps::request_id_bytes),
                                         ") letters, digits, dashes, underscores, dots or colons"));
  return "";
}

void RefuseUnsupportedFields(FieldReader& reader, FieldApi api, const RequestCaps& caps) {
  const Json* const user = reader.FindSet("user");
  if (user != nullptr && user->is_string() &&
      user->get_ref<const std::string&>().size() > static_cast<size_t>(caps.user_bytes)) {
    reader.Fail("user", absl::StrCat("is longer than ", caps.user_bytes, " bytes (",
                                     CapFlag(&RequestCaps::user_bytes), ")"));
  }
  for (const FieldRow& row : FieldTable()) {
    if (row.outcome != FieldOutcome::kRefused || !row.BelongsTo(api)) continue;
    const Json* value = reader.FindSet(row.name);
    if (value == nullptr) continue;
    if (*row.neutral != '\0' && *value == Json::parse(row.neutral)) continue;
    reader.Fail(row.name, absl::StrCat("is not supported by this server: ", row.note));
  }
}

void LogIgnoredFields(FieldReader& reader, const std::string& api) {
  if (!LogEnabled(LogLevel::kDebug)) return;
  std::vector<std::string> without_meaning;
  for (const FieldRow& row : FieldTable()) {
    if (row.outcome != FieldOutcome::kIgnored || reader.FindSet(row.name) == nullptr) continue;
    without_meaning.push_back(absl::StrCat(row.name, row.note.empty() ? "" : " (", row.note,
                                           row.note.empty() ? "" : ")"));
  }
  if (!without_meaning.empty()) {
    BATON_LOG(DEBUG) << api
                     << ": fields that change nothing: " << absl::StrJoin(without_meaning, ", ");
  }
  LogUnknownFields(reader, api);
}

void LogUnknownFields(const FieldReader& reader, const std::string& api) {
  if (!LogEnabled(LogLevel::kDebug)) return;
  const std::vector<std::string> unknown = reader.UnknownFields();
  if (unknown.empty()) return;
  BATON_LOG(DEBUG) << api << ": ignored fields: " << absl::StrJoin(unknown, ", ").substr(0, 512);
}

}  // namespace baton::gateway
