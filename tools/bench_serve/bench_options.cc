#include "tools/bench_serve/bench_options.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"

#include "common/status/status_macros.h"
#include "tools/flags/flag_table.h"

namespace baton::bench {
namespace {

constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr const char* kSamplingFlags[] = {
    "temperature",        "top-p",   "top-k", "min-p", "frequency-penalty", "presence-penalty",
    "repetition-penalty", "logprobs"};

const std::vector<FlagRow>& Table() {
  using enum FlagKind;
  static const auto* table = new std::vector<FlagRow>{
      {"backend", kValue, "openai", "openai or vllm (text completions), openai-chat"},
      {"base-url", kValue, "", "http[s]://HOST[:PORT][/PATH], instead of --host and --port"},
      {"insecure", kSwitch, "", "with https:// any certificate is good"},
      {"host", kValue, "127.0.0.1", ""},
      {"port", kValue, "8000", ""},
      {"endpoint", kValue, "/v1/completions", "with openai-chat /v1/chat/completions"},
      {"model", kValue, "the server's first", "also a folder with a tokenizer.json"},
      {"served-model-name", kValue, "--model", "name in the requests"},
      {"tokenizer", kValue, "", "folder of the tokenizer.json; prompts are text of exact length"},
      {"num-prompts", kValue, "1000", "requests to send"},
      {"request-rate", kValue, "inf", "requests a second; inf: all at once"},
      {"burstiness", kValue, "1", "1: Poisson; below: burstier; inf: evenly spaced"},
      {"max-concurrency", kValue, "", "requests in flight at most"},
      {"ramp-up-strategy", kValue, "", "linear or exponential, from start to end rps"},
      {"ramp-up-start-rps", kValue, "", ""},
      {"ramp-up-end-rps", kValue, "", ""},
      {"num-warmups", kValue, "0", "requests before the run that do not count"},
      {"ready-check-timeout-sec", kValue, "0", "waits that long for a first good answer"},
      {"request-timeout-sec", kValue, "21600", "of one request"},
      {"seed", kValue, "0", "of prompts and gaps"},
      {"ignore-eos", kSwitch, "", "answers have their full length"},
      {"dataset-name", kValue, "random", "random, custom, prefix_repetition or sharegpt"},
      {"dataset-path", kValue, "",
       "custom: JSON lines with \"prompt\" and perhaps \"output_tokens\"; "
       "sharegpt: JSON array of \"conversations\""},
      {"input-len", kValue, "", "of every data set, as --random-input-len"},
      {"output-len", kValue, "", "of every data set, as --random-output-len"},
      {"random-input-len", kValue, "1024", "tokens"},
      {"random-output-len", kValue, "128", "tokens"},
      {"random-range-ratio", kValue, "0", "lengths vary by this part, up and down"},
      {"random-prefix-len", kValue, "0", "tokens that all prompts begin with, on top"},
      {"custom-output-len", kValue, "256", "where a line does not say"},
      {"sharegpt-output-len", kValue, "the answer's", ""},
      {"prefix-repetition-prefix-len", kValue, "256", ""},
      {"prefix-repetition-suffix-len", kValue, "256", ""},
      {"prefix-repetition-num-prefixes", kValue, "10", ""},
      {"prefix-repetition-output-len", kValue, "128", ""},
      {"vocab-size", kValue, "1000", "without a tokenizer: token ids of prompts are below it"},
      {"temperature", kValue, "the server's", ""},
      {"top-p", kValue, "the server's", ""},
      {"top-k", kValue, "the server's", ""},
      {"min-p", kValue, "the server's", ""},
      {"frequency-penalty", kValue, "the server's", ""},
      {"presence-penalty", kValue, "the server's", ""},
      {"repetition-penalty", kValue, "the server's", ""},
      {"logprobs", kValue, "", "log-probabilities to ask for"},
      {"header", kList, "", "KEY=VALUE"},
      {"extra-body", kValue, "", "JSON object whose fields are added to every request"},
      {"request-id-prefix", kValue, "bench-", "X-Request-Id is this and a number"},
      {"percentile-metrics", kValue, "ttft,tpot,itl",
       "of ttft, tpot, itl, e2el; of waiting under --max-concurrency client_queue_time, "
       "e2el_including_client_queue"},
      {"metric-percentiles", kValue, "99", "for example 50,90,99"},
      {"goodput", kList, "", "KEY:MS of ttft, tpot, e2el: counts requests that meet all"},
      {"save-result", kSwitch, "", "writes a JSON file"},
      {"save-detailed", kSwitch, "", "with the figures of every request"},
      {"append-result", kSwitch, "", "adds a line to the JSON file"},
      {"result-dir", kValue, ".", ""},
      {"result-filename", kValue, "", "named after backend, rate, model and time"},
      {"label", kValue, "--backend", "begin of the result file's name"},
      {"metadata", kList, "", "KEY=VALUE for the result file"},
      {"disable-tqdm", kSwitch, "", "no progress bar"},
      {"help", kSwitch, "", ""},
  };
  return *table;
}

// Flags of vLLM's client that mean nothing here; `help` says why.
const std::vector<FlagRow>& IgnoredTable() {
  using enum FlagKind;
  static const auto* table = new std::vector<FlagRow>{
      {"profile", kSwitch, "", "no profiler is started"},
      {"plot-timeline", kSwitch, "", "nothing is drawn; --save-detailed has the times"},
      {"timeline-itl-thresholds", kValue, "", "nothing is drawn"},
      {"plot-dataset-stats", kSwitch, "", "nothing is drawn"},
      {"lora-modules", kList, "", "all requests name one model"},
      {"lora-assignment", kValue, "", "all requests name one model"},
      {"probe-request-rate", kValue, "", "no probes are sent beside the requests"},
      {"trust-remote-code", kSwitch, "", "no code of a model is run"},
      {"tokenizer-mode", kValue, "", "there is one kind of tokenizer"},
  };
  return *table;
}

// Both tables.
const std::vector<FlagRow>& KnownFlags() {
  static const auto* flags = [] {
    auto* all = new std::vector<FlagRow>(Table());
    all->insert(all->end(), IgnoredTable().begin(), IgnoredTable().end());
    return all;
  }();
  return *flags;
}

std::vector<std::string> IgnoredFlagWarnings(const GivenFlags& flags) {
  std::vector<std::string> warnings;
  for (const FlagRow& row : IgnoredTable()) {
    if (flags.Has(row.name)) {
      warnings.push_back(absl::StrCat("--", row.name, " is ignored: ", row.help));
    }
  }
  return warnings;
}

absl::Status ReadBaseUrl(const GivenFlags& flags, BenchOptions& options) {
  std::string url;
  RETURN_IF_ERROR(flags.Read("base-url", &url));
  RETURN_IF_ERROR(flags.Read("host", &options.host));
  RETURN_IF_ERROR(flags.Read("port", int64_t{1}, int64_t{65535}, &options.port));
  if (url.empty()) return absl::OkStatus();
  absl::string_view rest = url;
  options.tls = absl::ConsumePrefix(&rest, "https://");
  if (!options.tls && !absl::ConsumePrefix(&rest, "http://")) {
    return absl::InvalidArgumentError(
        absl::StrCat("--base-url is \"", url, "\"; wanted http://HOST:PORT or https://HOST:PORT"));
  }
  const size_t slash = rest.find('/');
  absl::string_view authority = rest.substr(0, slash);
  if (slash != absl::string_view::npos) {
    options.base_path = std::string(absl::StripSuffix(rest.substr(slash), "/"));
    options.endpoint = absl::StrCat(options.base_path, options.endpoint);
  }
  const size_t colon = authority.rfind(':');
  options.host = std::string(authority.substr(0, colon));
  options.port = options.tls ? 443 : 80;
  if (colon != absl::string_view::npos &&
      !absl::SimpleAtoi(authority.substr(colon + 1), &options.port)) {
    return absl::InvalidArgumentError(absl::StrCat("--base-url has no port: ", url));
  }
  return absl::OkStatus();
}

absl::Status ReadTarget(const GivenFlags& flags, BenchOptions& options) {
  RETURN_IF_ERROR(flags.Read("backend", &options.backend));
  if (options.backend == "openai-chat") {
    options.api = Api::kChat;
    options.endpoint = "/v1/chat/completions";
  } else if (options.backend != "openai" && options.backend != "vllm") {
    return absl::InvalidArgumentError(
        absl::StrCat("--backend is \"", options.backend, "\"; wanted openai, vllm or openai-chat"));
  }
  RETURN_IF_ERROR(flags.Read("endpoint", &options.endpoint));
  if (options.endpoint.empty() || options.endpoint[0] != '/') {
    return absl::InvalidArgumentError("--endpoint begins with /");
  }
  RETURN_IF_ERROR(ReadBaseUrl(flags, options));
  RETURN_IF_ERROR(flags.Read("insecure", &options.insecure));
  RETURN_IF_ERROR(flags.Read("model", &options.model));
  RETURN_IF_ERROR(flags.Read("served-model-name", &options.served_model_name));
  return flags.Read("tokenizer", &options.tokenizer);
}

absl::Status ReadArrivals(const GivenFlags& flags, ArrivalOptions& arrivals) {
  std::string ramp;
  RETURN_IF_ERROR(flags.Read("ramp-up-strategy", &ramp));
  RETURN_IF_ERROR(flags.Read("request-rate", 1e-6, kInfinity, &arrivals.request_rate));
  RETURN_IF_ERROR(flags.Read("burstiness", 1e-6, kInfinity, &arrivals.burstiness));
  RETURN_IF_ERROR(flags.Read("ramp-up-start-rps", 1e-6, 1e9, &arrivals.start_rps));
  RETURN_IF_ERROR(flags.Read("ramp-up-end-rps", 1e-6, 1e9, &arrivals.end_rps));
  if (ramp.empty()) return absl::OkStatus();
  if (ramp != "linear" && ramp != "exponential") {
    return absl::InvalidArgumentError("--ramp-up-strategy is linear or exponential");
  }
  arrivals.ramp_up = ramp == "linear" ? RampUp::kLinear : RampUp::kExponential;
  if (flags.Has("request-rate")) {
    return absl::InvalidArgumentError("--ramp-up-strategy and --request-rate exclude each other");
  }
  if (arrivals.start_rps == 0 || arrivals.end_rps == 0) {
    return absl::InvalidArgumentError(
        "--ramp-up-strategy wants --ramp-up-start-rps and --ramp-up-end-rps");
  }
  if (arrivals.start_rps > arrivals.end_rps) {
    return absl::InvalidArgumentError("--ramp-up-start-rps is above --ramp-up-end-rps");
  }
  return absl::OkStatus();
}

absl::Status ReadPrompts(const GivenFlags& flags, PromptOptions& prompts) {
  std::string name = "random";
  RETURN_IF_ERROR(flags.Read("dataset-name", &name));
  if (name == "random") {
    prompts.dataset = Dataset::kRandom;
  } else if (name == "custom") {
    prompts.dataset = Dataset::kCustom;
  } else if (name == "prefix_repetition") {
    prompts.dataset = Dataset::kPrefixRepetition;
  } else if (name == "sharegpt") {
    prompts.dataset = Dataset::kShareGpt;
  } else {
    return absl::InvalidArgumentError(absl::StrCat(
        "--dataset-name is \"", name, "\"; wanted random, custom, prefix_repetition or sharegpt"));
  }
  RETURN_IF_ERROR(flags.Read("dataset-path", &prompts.path));
  if ((prompts.dataset == Dataset::kCustom || prompts.dataset == Dataset::kShareGpt) &&
      prompts.path.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--dataset-name ", name, " wants --dataset-path"));
  }
  const struct {
    const char* general;
    const char* name;
    int64_t least;
    int64_t* value;
  } counts[] = {
      {"input-len", "random-input-len", 1, &prompts.input_len},
      {"output-len", "random-output-len", 1, &prompts.output_len},
      {"", "random-prefix-len", 0, &prompts.prefix_len},
      {"output-len", "custom-output-len", 1, &prompts.custom_output_len},
      {"output-len", "sharegpt-output-len", 1, &prompts.sharegpt_output_len},
      {"", "prefix-repetition-prefix-len", 0, &prompts.repetition_prefix_len},
      {"", "prefix-repetition-suffix-len", 1, &prompts.repetition_suffix_len},
      {"", "prefix-repetition-num-prefixes", 1, &prompts.num_prefixes},
      {"output-len", "prefix-repetition-output-len", 1, &prompts.repetition_output_len},
      {"", "vocab-size", 64, &prompts.vocab_size},
  };
  for (const auto& count : counts) {
    RETURN_IF_ERROR(flags.Read(count.general, count.least, kMost, count.value));
    RETURN_IF_ERROR(flags.Read(count.name, count.least, kMost, count.value));
  }
  return flags.Read("random-range-ratio", 0.0, 0.999, &prompts.range_ratio);
}

absl::Status ReadPairs(const GivenFlags& flags, absl::string_view name,
                       std::vector<std::pair<std::string, std::string>>& pairs) {
  std::vector<std::string> words;
  RETURN_IF_ERROR(flags.Read(name, &words));
  for (const std::string& word : words) {
    const size_t equals = word.find('=');
    if (equals == std::string::npos || equals == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("--", name, " is \"", word, "\"; wanted KEY=VALUE"));
    }
    pairs.emplace_back(word.substr(0, equals), word.substr(equals + 1));
  }
  return absl::OkStatus();
}

absl::Status ReadRequestFields(const GivenFlags& flags, BenchOptions& options) {
  for (const char* name : kSamplingFlags) {
    if (!flags.Has(name)) continue;
    double number = 0;
    std::string text;
    RETURN_IF_ERROR(flags.Read(name, -1e9, 1e9, &number));
    RETURN_IF_ERROR(flags.Read(name, &text));
    std::string field = name;
    std::replace(field.begin(), field.end(), '-', '_');
    options.sampling[field] = text;
  }
  RETURN_IF_ERROR(flags.Read("ignore-eos", &options.ignore_eos));
  RETURN_IF_ERROR(ReadPairs(flags, "header", options.headers));
  RETURN_IF_ERROR(flags.Read("extra-body", &options.extra_body));
  if (!options.extra_body.empty() &&
      !nlohmann::json::parse(options.extra_body, nullptr, /*allow_exceptions=*/false).is_object()) {
    return absl::InvalidArgumentError("--extra-body is no JSON object");
  }
  options.request_id_prefix = "bench-";
  return flags.Read("request-id-prefix", &options.request_id_prefix);
}

bool IsLatency(absl::string_view name) {
  return name == "ttft" || name == "tpot" || name == "itl" || name == "e2el";
}

bool IsMetric(absl::string_view name) {
  return IsLatency(name) || name == "client_queue_time" || name == "e2el_including_client_queue";
}

absl::Status ReadGoodput(const GivenFlags& flags, BenchOptions& options) {
  std::vector<std::string> words;
  RETURN_IF_ERROR(flags.Read("goodput", &words));
  for (const std::string& word : words) {
    const std::vector<std::string> parts = absl::StrSplit(word, ':');
    double limit = 0;
    if (parts.size() != 2 || !IsLatency(parts[0]) || parts[0] == "itl" ||
        !absl::SimpleAtod(parts[1], &limit) || limit < 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--goodput is \"", word, "\"; wanted ttft, tpot or e2el, a colon and milliseconds"));
    }
    options.goodput[parts[0]] = limit;
  }
  return absl::OkStatus();
}

absl::Status ReadOutput(const GivenFlags& flags, BenchOptions& options) {
  std::string names;
  std::string percentiles;
  RETURN_IF_ERROR(flags.Read("percentile-metrics", &names));
  RETURN_IF_ERROR(flags.Read("metric-percentiles", &percentiles));
  if (!names.empty()) options.percentile_metrics = absl::StrSplit(names, ',');
  for (const std::string& name : options.percentile_metrics) {
    if (!IsMetric(name)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--percentile-metrics has \"", name,
                       "\"; there are ttft, tpot, itl, e2el, client_queue_time, "
                       "e2el_including_client_queue"));
    }
  }
  if (!percentiles.empty()) options.percentiles.clear();
  for (absl::string_view word : absl::StrSplit(percentiles, ',', absl::SkipEmpty())) {
    double number = 0;
    if (!absl::SimpleAtod(word, &number) || !(number >= 0 && number <= 100)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--metric-percentiles has \"", word, "\"; wanted numbers from 0 to 100"));
    }
    options.percentiles.push_back(number);
  }
  RETURN_IF_ERROR(ReadGoodput(flags, options));
  RETURN_IF_ERROR(flags.Read("save-result", &options.save_result));
  RETURN_IF_ERROR(flags.Read("save-detailed", &options.save_detailed));
  RETURN_IF_ERROR(flags.Read("append-result", &options.append_result));
  RETURN_IF_ERROR(flags.Read("disable-tqdm", &options.disable_progress));
  RETURN_IF_ERROR(flags.Read("result-dir", &options.result_dir));
  RETURN_IF_ERROR(flags.Read("result-filename", &options.result_filename));
  RETURN_IF_ERROR(flags.Read("label", &options.label));
  return ReadPairs(flags, "metadata", options.metadata);
}

}  // namespace

absl::StatusOr<BenchOptions> ParseBenchOptions(const std::vector<std::string>& words) {
  ASSIGN_OR_RETURN(const GivenFlags flags, ParseFlags(words, KnownFlags()));
  BenchOptions options;
  options.warnings = IgnoredFlagWarnings(flags);
  RETURN_IF_ERROR(flags.Read("help", &options.help));
  if (!flags.positional().empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", flags.positional().front(), "\" is no flag"));
  }
  RETURN_IF_ERROR(ReadTarget(flags, options));
  RETURN_IF_ERROR(flags.Read("num-prompts", int64_t{1}, kMost, &options.num_prompts));
  RETURN_IF_ERROR(flags.Read("max-concurrency", int64_t{1}, kMost, &options.max_concurrency));
  RETURN_IF_ERROR(flags.Read("num-warmups", int64_t{0}, kMost, &options.num_warmups));
  RETURN_IF_ERROR(
      flags.Read("ready-check-timeout-sec", int64_t{0}, kMost, &options.ready_check_timeout_sec));
  RETURN_IF_ERROR(
      flags.Read("request-timeout-sec", int64_t{1}, kMost, &options.request_timeout_sec));
  RETURN_IF_ERROR(flags.Read("seed", int64_t{0}, kMost, &options.seed));
  RETURN_IF_ERROR(ReadArrivals(flags, options.arrivals));
  RETURN_IF_ERROR(ReadPrompts(flags, options.prompts));
  RETURN_IF_ERROR(ReadRequestFields(flags, options));
  RETURN_IF_ERROR(ReadOutput(flags, options));
  return options;
}

std::string BenchHelp() {
  std::vector<std::string> ignored;
  for (const FlagRow& row : IgnoredTable()) ignored.push_back(absl::StrCat("--", row.name));
  return absl::StrCat(
      "baton bench serve [flags]: loads an OpenAI endpoint and reports what `vllm bench serve` "
      "does,\n"
      "by the same definitions and under the same names\n\n"
      "example:\n"
      "  baton bench serve --port 8000 --num-prompts 200 --request-rate 4 --ignore-eos \\\n"
      "      --random-input-len 512 --random-output-len 128 --save-result\n\n"
      "flags:\n",
      FlagHelp(Table()), "\naccepted with a warning and ignored: ", absl::StrJoin(ignored, ", "),
      "\n");
}

}  // namespace baton::bench
