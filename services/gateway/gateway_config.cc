#include "services/gateway/gateway_config.h"

#include <cstdlib>

#include "absl/flags/flag.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

#include "common/config/token_count.h"
#include "common/log/log.h"
#include "common/rpc/identity_flags.h"
#include "common/status/status_macros.h"
#include "services/gateway/admission/api_keys.h"
#include "services/gateway/gateway_config_limits.h"

ABSL_FLAG(std::string, model, "",
          "folder of the model: config.json, tokenizer.json, tokenizer_config.json");
ABSL_FLAG(std::string, scheduler, "127.0.0.1:50052", "address of the scheduler");
ABSL_FLAG(std::string, host, "0.0.0.0", "address of the HTTP API");
ABSL_FLAG(int, port, 8000, "port of the HTTP API; 0: any free one");
ABSL_FLAG(std::string, grpc_listen_address, "0.0.0.0:50051",
          "address of the gRPC API; port 0: any free one");
ABSL_FLAG(std::string, metrics_address, "0.0.0.0:9091",
          "address of /metrics and /health; port 0: any free one; empty: none");
ABSL_FLAG(std::string, ports_file, "", "file to write the bound ports to, as JSON");
ABSL_FLAG(absl::Duration, drain_timeout, absl::Seconds(30),
          "how long running requests may go on after SIGTERM");
ABSL_FLAG(std::vector<std::string>, served_model_name, {},
          "names that requests may use; answers carry the first; default: the value of --model");
ABSL_FLAG(std::string, generation_config, "auto",
          "defaults of sampling: auto: of the model's generation_config.json; vllm: neutral ones");
ABSL_FLAG(bool, enable_force_include_usage, false,
          "every chunk of a stream tells the usage, whatever its stream_options say");
ABSL_FLAG(baton::TokenCount, max_model_len, {},
          "most tokens of prompt and answer together: 32768, 32k or 32K; auto: what model and "
          "scheduler allow");
ABSL_FLAG(std::string, chat_template, "", "Jinja file to use instead of the model's own template");
ABSL_FLAG(std::string, default_chat_template_kwargs, "",
          "JSON object of variables for the chat template, e.g. {\"thinking\": true}; a request's "
          "chat_template_kwargs go before them");
ABSL_FLAG(std::string, reasoning_parser, "auto",
          "how reasoning is split off: deepseek_r1, none, or auto: as the template suggests");
ABSL_FLAG(std::string, reasoning_field, "both",
          "name of the reasoning in chat answers: reasoning, reasoning_content or both");
ABSL_FLAG(std::string, tool_call_parser, "auto",
          "how calls of tools are found in answers: deepseek_v3 (also R1), deepseek_v31, none, or "
          "auto: as the template writes them");
ABSL_FLAG(bool, enable_auto_tool_choice, true,
          "the model may choose whether it calls a tool; without, tool_choice auto is refused");
ABSL_FLAG(bool, refuse_unkept_strict_tools, false,
          "a function that is strict and whose schema cannot be kept is a 400 even if the model "
          "chooses whether it calls; without, any object may be its arguments then");
ABSL_FLAG(std::vector<std::string>, api_key, {},
          "keys of which every request must carry one, but for probes and the pages; default: the "
          "key in VLLM_API_KEY, if it is set and there is no --api-key-file");
ABSL_FLAG(
    std::vector<std::string>, api_key_weight, {},
    "shares of the keys of --api-key, in their order, when the service is busy: 2 for twice as "
    "many tokens; default: 1 each");
ABSL_FLAG(
    bool, share_prefix_cache, false,
    "API keys share cached prompts; a key can then tell, from the time to the first token, what "
    "others have asked");
ABSL_FLAG(absl::Duration, early_refusal_time, absl::Milliseconds(100),
          "When the scheduler refuses a request and says that it would refuse any of that key, the "
          "key's next ones are refused unparsed for as long, at most for this long. 0: never.");
ABSL_FLAG(std::string, api_key_file, "",
          "file of more keys, a line each: NAME, SHA-256 of the key, and what it may: weight=2, "
          "requests-per-minute=60, tokens-per-minute=100000, max-num-requests=4, "
          "best-priority=-1; read again when it changes. Example: printf %s KEY | sha256sum");
ABSL_FLAG(int, max_num_requests_per_key, 0,
          "generation sequences at a time of one API key; more are answered 429; 0: no bound");
ABSL_FLAG(int, max_requests_per_minute_per_key, 0,
          "generation requests per minute of one API key, beside ten times as many that generate "
          "nothing (/tokenize and its like); more are answered 429; 0: no bound");
ABSL_FLAG(int, max_tokens_per_minute_per_key, 0,
          "tokens of prompts and answers per minute of one API key; likewise");
ABSL_FLAG(int, best_priority_per_key, 0,
          "best, lowest, priority that requests of an API key have, whatever they ask for: they go "
          "before those of all keys with a higher number, whatever their shares. Without keys "
          "requests have what they ask for.");
ABSL_FLAG(
    int, max_num_requests, 2048,
    "generation sequences at a time, one per choice of each prompt; more are answered 503. An "
    "eighth is for API keys that have few. Give it more than the scheduler's --max-num-seqs "
    "and --max-num-queued-reqs together, which share out what there is fairly.");
ABSL_FLAG(int, max_answer_mib, 64, "MiB of an answer that is not streamed; more is a 400");
ABSL_FLAG(absl::Duration, request_timeout, absl::Seconds(600), "time that one request may take");
ABSL_FLAG(absl::Duration, recovery_timeout, absl::Seconds(30),
          "requests, live and new, wait this long for a scheduler or stage that was lost");
ABSL_FLAG(absl::Duration, sse_keep_alive, absl::Seconds(15),
          "a stream that has nothing to say for so long writes a comment; 0: never");
ABSL_FLAG(bool, enable_tokenizer_info_endpoint, false,
          "serve /tokenizer_info, which shows the chat template");
ABSL_FLAG(std::string, ssl_certfile, "",
          "PEM file of the certificate, with its chain: the HTTP API is served through TLS; read "
          "again when it changes");
ABSL_FLAG(std::string, ssl_keyfile, "",
          "PEM file of its key; default: it stands in --ssl-certfile");
ABSL_FLAG(std::string, ssl_ca_certs, "", "PEM file of who signs the certificates of clients");
ABSL_FLAG(int, ssl_cert_reqs, 0, "whether clients need a certificate: 0 no, 1 it may be, 2 yes");
ABSL_FLAG(std::vector<std::string>, allowed_origins, {"*"},
          "sites whose pages may call (CORS), as a list or as JSON's [\"...\"]; *: any");
ABSL_FLAG(std::vector<std::string>, allowed_methods, {"*"}, "methods that they may use");
ABSL_FLAG(std::vector<std::string>, allowed_headers, {"*"},
          "headers that they may send, beside Accept, Content-Type and the two for languages");
ABSL_FLAG(bool, allow_credentials, false, "they may send cookies");
ABSL_FLAG(std::string, access_log, "none",
          "a line per HTTP exchange: none, text (in the log) or json (on standard error)");
ABSL_FLAG(bool, public_metrics, true,
          "serve /metrics on the API's port too, and not only on --metrics-address");
ABSL_FLAG(bool, log_requests, true, "log one line per generation request");

namespace baton::gateway {
namespace {

constexpr char kKeyVariable[] = "VLLM_API_KEY";

// The variable counts where no flag says who may call, as in vLLM: a server that its user believes
// to be closed must not be open, and a file of keys must be all of them.
std::vector<std::string> KeysOfFlagOrVariable() {
  std::vector<std::string> keys = absl::GetFlag(FLAGS_api_key);
  const char* const variable = std::getenv(kKeyVariable);
  if (!keys.empty() || variable == nullptr || *variable == '\0') return keys;
  if (absl::GetFlag(FLAGS_api_key_file).empty()) {
    keys.emplace_back(variable);
  } else {
    BATON_LOG(WARNING) << kKeyVariable << " is no key beside --api-key-file, which has them all";
  }
  return keys;
}

absl::StatusOr<std::vector<uint32_t>> KeyWeights(size_t num_keys) {
  const std::vector<std::string> given = absl::GetFlag(FLAGS_api_key_weight);
  if (given.size() > num_keys) {
    return absl::InvalidArgumentError("--api-key-weight has more weights than --api-key has keys");
  }
  std::vector<uint32_t> weights;
  for (const std::string& text : given) {
    uint32_t weight = 0;
    if (!absl::SimpleAtoi(text, &weight) || weight < 1 || weight > kMaxKeyWeight) {
      return absl::InvalidArgumentError(
          absl::StrCat("--api-key-weight has \"", text, "\"; wanted 1 to ", kMaxKeyWeight));
    }
    weights.push_back(weight);
  }
  return weights;
}

absl::StatusOr<ApiKeys::Options> ReadApiKeys() {
  ApiKeys::Options options;
  options.keys = KeysOfFlagOrVariable();
  for (const std::string& key : options.keys) {
    if (key.empty() || key.size() > ApiKeys::kMaxKeyBytes) {
      return absl::InvalidArgumentError(absl::StrCat("--api-key (or ", kKeyVariable,
                                                     "): a key must have 1 to ",
                                                     ApiKeys::kMaxKeyBytes, " bytes"));
    }
  }
  options.source = absl::GetFlag(FLAGS_api_key).empty() ? kKeyVariable : "--api-key";
  ASSIGN_OR_RETURN(options.weights, KeyWeights(options.keys.size()));
  options.file = absl::GetFlag(FLAGS_api_key_file);
  options.limits = {
      .requests_per_minute =
          static_cast<uint32_t>(absl::GetFlag(FLAGS_max_requests_per_minute_per_key)),
      .tokens_per_minute =
          static_cast<uint32_t>(absl::GetFlag(FLAGS_max_tokens_per_minute_per_key)),
      .num_requests = static_cast<uint32_t>(absl::GetFlag(FLAGS_max_num_requests_per_key)),
      .best_priority = absl::GetFlag(FLAGS_best_priority_per_key)};
  options.share_cache = absl::GetFlag(FLAGS_share_prefix_cache);
  return options;
}

// A list as vLLM takes it, ["a", "b"], is cut at its commas already.
std::vector<std::string> ReadList(const std::vector<std::string>& given) {
  std::vector<std::string> items;
  for (absl::string_view item : given) {
    item = absl::StripAsciiWhitespace(item);
    absl::ConsumePrefix(&item, "[");
    absl::ConsumeSuffix(&item, "]");
    item = absl::StripAsciiWhitespace(item);
    if (absl::ConsumePrefix(&item, "\"")) absl::ConsumeSuffix(&item, "\"");
    if (!item.empty()) items.emplace_back(item);
  }
  return items;
}

absl::StatusOr<TlsOptions> ReadTls() {
  TlsOptions tls{.certificate_file = absl::GetFlag(FLAGS_ssl_certfile),
                 .key_file = absl::GetFlag(FLAGS_ssl_keyfile),
                 .ca_file = absl::GetFlag(FLAGS_ssl_ca_certs)};
  const int clients = absl::GetFlag(FLAGS_ssl_cert_reqs);
  RETURN_IF_ERROR(CheckRange("ssl-cert-reqs", clients, 0, 2));
  tls.clients = static_cast<ClientCertificates>(clients);
  const bool more = clients > 0 || !tls.key_file.empty() || !tls.ca_file.empty();
  if (tls.certificate_file.empty() && more) {
    return absl::InvalidArgumentError("--ssl-keyfile and its like need --ssl-certfile");
  }
  if (clients > 0 && tls.ca_file.empty()) {
    return absl::InvalidArgumentError("--ssl-cert-reqs needs --ssl-ca-certs");
  }
  return tls;
}

absl::StatusOr<ReasoningNames> ReadReasoningNames() {
  const std::string field = absl::GetFlag(FLAGS_reasoning_field);
  const bool both = field == "both";
  const ReasoningNames names = {.reasoning = both || field == "reasoning",
                                .reasoning_content = both || field == "reasoning_content"};
  if (names.reasoning || names.reasoning_content) return names;
  return absl::InvalidArgumentError(absl::StrCat(
      "--reasoning-field is \"", field, "\"; wanted reasoning, reasoning_content or both"));
}

absl::StatusOr<bool> ReadsGenerationConfig() {
  const std::string source = absl::GetFlag(FLAGS_generation_config);
  if (source == "auto" || source == "vllm") return source == "auto";
  return absl::InvalidArgumentError(absl::StrCat(
      "--generation-config is \"", source,
      "\"; wanted auto (generation_config.json in the model's folder) or vllm (no defaults)"));
}

absl::Status CheckTimes() {
  RETURN_IF_ERROR(
      CheckTime("request-timeout", absl::GetFlag(FLAGS_request_timeout), LeastTime::kMoreThanZero));
  RETURN_IF_ERROR(
      CheckTime("recovery-timeout", absl::GetFlag(FLAGS_recovery_timeout), LeastTime::kZero));
  RETURN_IF_ERROR(CheckTime("drain-timeout", absl::GetFlag(FLAGS_drain_timeout), LeastTime::kZero));
  RETURN_IF_ERROR(
      CheckTime("sse-keep-alive", absl::GetFlag(FLAGS_sse_keep_alive), LeastTime::kZero));
  return CheckTime("early-refusal-time", absl::GetFlag(FLAGS_early_refusal_time), LeastTime::kZero);
}

absl::Status CheckFlags() {
  if (absl::GetFlag(FLAGS_model).empty()) {
    return absl::InvalidArgumentError("--model is missing: the folder of the model");
  }
  RETURN_IF_ERROR(CheckRange("port", absl::GetFlag(FLAGS_port), 0, 65535));
  RETURN_IF_ERROR(
      CheckRange("max-num-requests", absl::GetFlag(FLAGS_max_num_requests), 1, 1 << 20));
  RETURN_IF_ERROR(CheckRange("max-num-requests-per-key",
                             absl::GetFlag(FLAGS_max_num_requests_per_key), 0, 1 << 20));
  RETURN_IF_ERROR(CheckRange("max-requests-per-minute-per-key",
                             absl::GetFlag(FLAGS_max_requests_per_minute_per_key), 0, 1 << 30));
  RETURN_IF_ERROR(CheckRange("max-tokens-per-minute-per-key",
                             absl::GetFlag(FLAGS_max_tokens_per_minute_per_key), 0, 1 << 30));
  RETURN_IF_ERROR(CheckRange("max-answer-mib", absl::GetFlag(FLAGS_max_answer_mib), 1, 1 << 20));
  return CheckTimes();
}

}  // namespace

absl::StatusOr<GatewayConfig> ReadGatewayConfig() {
  RETURN_IF_ERROR(CheckFlags());
  GatewayConfig config;
  config.server.role = "gateway";
  config.server.listen_address = absl::GetFlag(FLAGS_grpc_listen_address);
  config.server.metrics_address = absl::GetFlag(FLAGS_metrics_address);
  config.server.ports_file = absl::GetFlag(FLAGS_ports_file);
  config.server.drain_timeout = absl::GetFlag(FLAGS_drain_timeout);
  ASSIGN_OR_RETURN(config.server.identity, ReadRpcIdentity(config.server.role));
  config.http.host = absl::GetFlag(FLAGS_host);
  config.http.port = absl::GetFlag(FLAGS_port);
  ASSIGN_OR_RETURN(config.http.tls, ReadTls());
  ASSIGN_OR_RETURN(config.http.limits, ReadHttpLimits());
  config.model.model_dir = absl::GetFlag(FLAGS_model);
  config.model.names = absl::GetFlag(FLAGS_served_model_name);
  config.model.max_model_len = absl::GetFlag(FLAGS_max_model_len).value;
  ASSIGN_OR_RETURN(config.model.reads_generation_config, ReadsGenerationConfig());
  ASSIGN_OR_RETURN(config.caps, ReadRequestCaps());
  config.force_include_usage = absl::GetFlag(FLAGS_enable_force_include_usage);
  config.model.chat_template_path = absl::GetFlag(FLAGS_chat_template);
  config.model.default_chat_template_kwargs = absl::GetFlag(FLAGS_default_chat_template_kwargs);
  config.model.reasoning_parser = absl::GetFlag(FLAGS_reasoning_parser);
  config.model.tool_call_parser = absl::GetFlag(FLAGS_tool_call_parser);
  config.model.auto_tool_choice = absl::GetFlag(FLAGS_enable_auto_tool_choice);
  config.model.refuses_unkept_strict = absl::GetFlag(FLAGS_refuse_unkept_strict_tools);
  ASSIGN_OR_RETURN(config.reasoning_names, ReadReasoningNames());
  config.scheduler_address = absl::GetFlag(FLAGS_scheduler);
  ASSIGN_OR_RETURN(config.api_keys, ReadApiKeys());
  config.early_refusal_time = absl::GetFlag(FLAGS_early_refusal_time);
  config.max_num_requests = static_cast<size_t>(absl::GetFlag(FLAGS_max_num_requests));
  config.request_timeout = absl::GetFlag(FLAGS_request_timeout);
  config.max_whole_answer_bytes = static_cast<size_t>(absl::GetFlag(FLAGS_max_answer_mib)) << 20;
  config.recovery_timeout = absl::GetFlag(FLAGS_recovery_timeout);
  config.sse_keep_alive = absl::GetFlag(FLAGS_sse_keep_alive);
  config.tokenizer_info = absl::GetFlag(FLAGS_enable_tokenizer_info_endpoint);
  config.cors = {.origins = ReadList(absl::GetFlag(FLAGS_allowed_origins)),
                 .methods = ReadList(absl::GetFlag(FLAGS_allowed_methods)),
                 .headers = ReadList(absl::GetFlag(FLAGS_allowed_headers)),
                 .credentials = absl::GetFlag(FLAGS_allow_credentials)};
  ASSIGN_OR_RETURN(config.access_log, ParseAccessLogFormat(absl::GetFlag(FLAGS_access_log)));
  config.public_metrics = absl::GetFlag(FLAGS_public_metrics);
  config.log_requests = absl::GetFlag(FLAGS_log_requests);
  return config;
}

}  // namespace baton::gateway
