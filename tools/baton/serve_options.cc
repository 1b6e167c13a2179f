#include "tools/baton/serve_options.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"

#include "common/config/nearest_name.h"
#include "common/config/token_count.h"
#include "common/status/status_macros.h"
#include "tools/baton/fixed_flags.h"

namespace baton {
namespace {

constexpr int kMaxStages = 64;
constexpr int kMaxRanks = 64;
constexpr int kMostLogprobs = 20;  // of the gateway: its --max-logprobs
constexpr char kSecretFlag[] = "api-key";

using Given = std::map<std::string, std::vector<std::string>>;  // flag to values

absl::Status Unknown(absl::string_view word, absl::string_view name) {
  const std::string nearest = NearestName(name, MeaningfulServeFlags());
  return absl::InvalidArgumentError(
      absl::StrCat("unknown flag ", word,
                   nearest.empty() ? "" : absl::StrCat("; did you mean --", nearest, "?")));
}

bool IsLevel(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), absl::ascii_isdigit);
}

// vLLM's level of optimisation: -O2, -O=2, -O 2. Consumes its value; false: it is no such flag.
bool ReadOptimizationLevel(const std::vector<std::string>& words, size_t* next, Given* given) {
  absl::string_view value = words[*next - 1];
  if (!absl::ConsumePrefix(&value, "-O")) return false;
  if (value.empty() && *next < words.size() && IsLevel(words[*next]))
    value = words[(*next)++];
  else
    absl::ConsumePrefix(&value, "=");
  if (!IsLevel(value)) return false;
  (*given)["optimization-level"] = {std::string(value)};
  return true;
}

bool IsFlag(const std::string& word) { return word.size() > 1 && absl::StartsWith(word, "-"); }

// Reads the flag at words[*next - 1] and its values.
absl::Status ReadFlag(const std::vector<std::string>& words, size_t* next, Given* given) {
  if (ReadOptimizationLevel(words, next, given)) return absl::OkStatus();
  const std::string& word = words[*next - 1];
  const size_t equals = word.find('=');
  const bool has_value = equals != std::string::npos;
  std::string name = absl::StrReplaceAll(
      absl::StripPrefix(absl::StripPrefix(word.substr(0, equals), "-"), "-"), {{"_", "-"}});
  const bool negated = absl::StartsWith(name, "no-") && FindServeFlag(name) == nullptr;
  if (negated) name = name.substr(3);
  const ServeFlag* flag = FindServeFlag(name);
  const bool short_form = !absl::StartsWith(word, "--") && name != "tp" && name != "pp";
  if (flag == nullptr || short_form || (negated && flag->shape != FlagShape::kSwitch))
    return Unknown(word.substr(0, equals), name);
  if (flag->destinations == kRefused)
    return absl::InvalidArgumentError(
        absl::StrCat("--", name, " of vLLM is not served here: ", flag->help));
  std::vector<std::string>& values = (*given)[std::string(flag->name)];
  if (flag->shape != FlagShape::kList) values.clear();
  const size_t before = values.size();
  if (has_value)
    values.push_back(word.substr(equals + 1));
  else if (flag->shape == FlagShape::kSwitch)
    values.push_back(negated ? "false" : "true");
  else if (flag->shape == FlagShape::kList)
    while (*next < words.size() && !IsFlag(words[*next])) values.push_back(words[(*next)++]);
  else if (*next < words.size() && !absl::StartsWith(words[*next], "--"))
    values.push_back(words[(*next)++]);  // may be a negative number
  if (values.size() > before) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("--", name, " needs a value"));
}

// The value of BATON_MAX_NUM_SEQS for "max-num-seqs"; null if it is not set.
const char* EnvironmentValue(absl::string_view name) {
  const std::string variable =
      absl::StrCat("BATON_", absl::AsciiStrToUpper(absl::StrReplaceAll(name, {{"-", "_"}})));
  const char* value = std::getenv(variable.c_str());
  // Kubernetes sets BATON_PORT=tcp://... in every pod if a service is named "baton".
  return value == nullptr || absl::StartsWith(value, "tcp://") ? nullptr : value;
}

// Of a role's flag that is checked here: roles read the environment, unless the command line says.
const char* ValueOf(const Given& given, const std::string& name) {
  const auto found = given.find(name);
  return found == given.end() ? EnvironmentValue(name) : found->second.back().c_str();
}

// Flags that the command line leaves out and the environment has.
void ReadEnvironment(Given* given) {
  for (const ServeFlag& flag : ServeFlags()) {
    if ((flag.destinations & kToSupervisor) == 0) continue;  // roles read the environment
    const char* value = EnvironmentValue(flag.name);
    if (value != nullptr)
      given->try_emplace(std::string(flag.name), std::vector<std::string>{value});
  }
}

absl::Status TakeNumber(const Given& given, const std::string& name, int least, int most,
                        int* number) {
  const auto found = given.find(name);
  if (found == given.end()) return absl::OkStatus();
  const std::string& text = found->second.back();
  if (absl::SimpleAtoi(text, number) && *number >= least && *number <= most)
    return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--", name, ": \"", text, "\" is not a number from ", least, " to ", most));
}

absl::Status TakeDuration(const Given& given, const std::string& name, absl::Duration least,
                          absl::Duration* duration) {
  const auto found = given.find(name);
  if (found == given.end()) return absl::OkStatus();
  const std::string& text = found->second.back();
  if (absl::ParseDuration(text, duration) && *duration >= least) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("--", name, ": \"", text,
                                                 "\" is not a duration like 30s, at least ",
                                                 absl::FormatDuration(least)));
}

absl::Status NormalizeLength(Given* given) {
  const char* text = ValueOf(*given, "max-model-len");
  if (text == nullptr) return absl::OkStatus();
  const absl::StatusOr<int64_t> num_tokens = ParseTokenCount(text);
  if (!num_tokens.ok())
    return absl::InvalidArgumentError(
        absl::StrCat("--max-model-len: ", num_tokens.status().message()));
  (*given)["max-model-len"] = {FormatTokenCount(*num_tokens)};
  return absl::OkStatus();
}

// vLLM's -1 is no bound; the gateway ends at more than it can serve.
absl::Status NormalizeLogprobs(Given* given, ServeOptions* options) {
  const char* text = ValueOf(*given, "max-logprobs");
  if (text == nullptr) return absl::OkStatus();
  const std::string value = text;
  int count = 0;
  if (!absl::SimpleAtoi(value, &count) || count < -1)
    return absl::InvalidArgumentError(
        absl::StrCat("--max-logprobs: \"", value, "\" is not -1, 0 or more"));
  if (count >= 0 && count <= kMostLogprobs) return absl::OkStatus();
  options->warnings.push_back(
      absl::StrCat("--max-logprobs ", value, " is taken as ", kMostLogprobs, ", the most"));
  (*given)["max-logprobs"] = {absl::StrCat(kMostLogprobs)};
  return absl::OkStatus();
}

// vLLM takes the generation_config.json of any folder.
absl::Status NormalizeGenerationConfig(const std::string& model_dir, Given* given) {
  const char* text = ValueOf(*given, "generation-config");
  if (text == nullptr) return absl::OkStatus();
  const std::string value = text;
  if (value == "auto" || value == "vllm") return absl::OkStatus();
  if (!IsModelFolder(value, model_dir))
    return absl::InvalidArgumentError(
        absl::StrCat("--generation-config is \"", value,
                     "\"; served here: auto, vllm, the model's own folder; put its "
                     "generation_config.json there"));
  (*given)["generation-config"] = {"auto"};
  return absl::OkStatus();
}

absl::Status CheckModel(const std::string& folder) {
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error))
    return absl::InvalidArgumentError(absl::StrCat("model \"", folder, "\" is not a folder"));
  if (!std::filesystem::is_regular_file(std::filesystem::path(folder) / "config.json", error))
    return absl::InvalidArgumentError(absl::StrCat("model folder ", folder, " has no config.json"));
  return absl::OkStatus();
}

// A variable holds several keys with commas between them, and one that is empty, or looks like a
// service link of Kubernetes, counts as not set: then the API would be open.
absl::Status CheckKeys(const Given& given) {
  const auto found = given.find(kSecretFlag);
  if (found == given.end()) return absl::OkStatus();
  for (const std::string& key : found->second) {
    if (key.empty()) return absl::InvalidArgumentError("--api-key: a key is empty");
    if (absl::StrContains(key, ',') || absl::StartsWith(key, "tcp://"))
      return absl::InvalidArgumentError(
          "--api-key: a key must have no comma and not begin with tcp://");
  }
  return absl::OkStatus();
}

absl::Status CheckFixed(const Given& given, const std::string& model_dir) {
  const char* dtype = ValueOf(given, "dtype");
  const FixedFacts facts{.model_dir = model_dir, .dtype = dtype == nullptr ? "" : dtype};
  for (const auto& [name, values] : given) {
    const ServeFlag& flag = *FindServeFlag(name);
    if (flag.destinations != kFixed) continue;
    const absl::Status status = CheckFixedFlag(name, values.back(), facts);
    if (!status.ok())
      return absl::InvalidArgumentError(absl::StrCat(status.message(), "; ", flag.help));
  }
  return absl::OkStatus();
}

void PassOnOrWarn(const Given& given, ServeOptions* options) {
  for (const auto& [name, values] : given) {
    const ServeFlag& flag = *FindServeFlag(name);
    if (flag.destinations == kIgnored)
      options->warnings.push_back(absl::StrCat("--", name, " is ignored: ", flag.help));
    else if (flag.destinations != kToSupervisor && flag.destinations != kFixed)
      options->passed_on[name] = values;
  }
}

}  // namespace

absl::string_view NameOf(Role role) {
  switch (role) {
    case Role::kModelLoader:
      return "model-loader";
    case Role::kScheduler:
      return "scheduler";
    case Role::kStageWorker:
      return "stage-worker";
    case Role::kGateway:
      return "gateway";
  }
  return "?";
}

absl::StatusOr<ServeOptions> ParseServeOptions(const std::vector<std::string>& words) {
  Given given;
  ServeOptions options;
  std::vector<std::string> models;
  for (size_t next = 0; next < words.size();) {
    const std::string& word = words[next++];
    if (word == "--model" && next < words.size())
      models.push_back(words[next++]);
    else if (absl::StartsWith(word, "--model="))
      models.push_back(word.substr(8));
    else if (IsFlag(word))
      RETURN_IF_ERROR(ReadFlag(words, &next, &given));
    else
      models.push_back(word);
  }
  ReadEnvironment(&given);
  if (models.size() != 1)
    return absl::InvalidArgumentError(
        models.empty() ? "which model? give its folder: baton serve MODEL_DIR"
                       : absl::StrCat("one model at a time, not ", absl::StrJoin(models, " and ")));
  options.model_dir = models[0];
  RETURN_IF_ERROR(CheckModel(options.model_dir));
  RETURN_IF_ERROR(TakeNumber(given, "port", 0, 65535, &options.port));
  RETURN_IF_ERROR(TakeNumber(given, "grpc-port", 0, 65535, &options.grpc_port));
  RETURN_IF_ERROR(TakeNumber(given, "pipeline-parallel-size", 1, kMaxStages, &options.num_stages));
  RETURN_IF_ERROR(TakeNumber(given, "tensor-parallel-size", 1, kMaxRanks, &options.num_ranks));
  RETURN_IF_ERROR(NormalizeLength(&given));
  RETURN_IF_ERROR(NormalizeLogprobs(&given, &options));
  RETURN_IF_ERROR(NormalizeGenerationConfig(options.model_dir, &given));
  RETURN_IF_ERROR(CheckKeys(given));
  RETURN_IF_ERROR(CheckFixed(given, options.model_dir));
  if (given.contains("host")) options.host = given["host"].back();
  if (given.contains("state-file")) options.state_file = given["state-file"].back();
  if (given.contains("verbose")) options.verbose = given["verbose"].back() == "true";
  if (given.contains("restart")) options.restart = given["restart"].back() == "true";
  RETURN_IF_ERROR(
      TakeNumber(given, "max-restarts", 0, 1 << 30, &options.restart_limits.max_deaths));
  RETURN_IF_ERROR(
      TakeDuration(given, "restart-window", absl::Seconds(1), &options.restart_limits.window));
  RETURN_IF_ERROR(
      TakeDuration(given, "liveness-timeout", absl::Milliseconds(100), &options.liveness_timeout));
  RETURN_IF_ERROR(TakeNumber(given, "stage-worker-nice", 0, 19, &options.stage_worker_nice));
  RETURN_IF_ERROR(
      TakeDuration(given, "drain-timeout", absl::ZeroDuration(), &options.drain_timeout));
  PassOnOrWarn(given, &options);
  // A process that is killed can leave the shared memory of a receiver unusable for everybody
  // (common/transport/README.md); a connection of TCP ends with it.
  if (!given.contains("ucx-transports") && std::getenv("UCX_TLS") == nullptr &&
      std::getenv("BATON_UCX_TRANSPORTS") == nullptr)
    options.passed_on["ucx-transports"] = {"tcp"};
  return options;
}

std::string ServeHelp() {
  std::string text =
      "Serves a model as a group of processes on this machine: gateway, scheduler, stage-workers,\n"
      "model-loader. Stops them in order on Ctrl-C or SIGTERM.\n\n"
      "example:\n  baton serve /models/DeepSeek-R1 --pipeline-parallel-size 2 "
      "--tensor-parallel-size 8\n\nflags:\n";
  for (const ServeFlag& flag : ServeFlags())
    if (flag.destinations != kIgnored && flag.destinations < kRefused)
      absl::StrAppend(&text, "  --", flag.name, "\n      ", flag.help, "\n");
  absl::StrAppend(
      &text,
      "\nEach flag also from the environment: --max-num-seqs is BATON_MAX_NUM_SEQS; so are the\n"
      "flags of single programs that are not named here (baton-stage-worker --help).\n"
      "Flags of vLLM that mean nothing here are accepted with a warning. Those that would change\n"
      "answers, limits or who may ask are refused with a reason, unless their value is what\n"
      "happens here anyway (--quantization fp8 for such a checkpoint).\n");
  return text;
}

std::vector<std::string> ArgumentsOf(Role role, int index, const ServeOptions& options,
                                     const PeerAddresses& peers, const ProcessPlace& place) {
  const auto port = [&place](const std::string& name, int otherwise) {
    const auto found = place.ports.find(name);
    return found == place.ports.end() ? otherwise : found->second;
  };
  std::vector<std::string> arguments{"--metrics-address",
                                     absl::StrCat("127.0.0.1:", port("metrics", 0)), "--ports-file",
                                     place.ports_file};
  const auto add = [&arguments](absl::string_view name, absl::string_view value) {
    arguments.push_back(absl::StrCat("--", name));
    arguments.emplace_back(value);
  };
  unsigned destination = 0;
  if (options.verbose) add("log-level", "debug");
  if (role != Role::kStageWorker) add("model", options.model_dir);
  if (role == Role::kGateway) {
    destination = kToGateway;
    add("scheduler", peers.scheduler);
    add("host", options.host);
    add("port", absl::StrCat(port("http", options.port)));
    add("grpc-listen-address", absl::StrCat(options.host, ":", port("grpc", options.grpc_port)));
  } else {
    add("listen-address", absl::StrCat("127.0.0.1:", port("grpc", 0)));
  }
  if (role == Role::kScheduler) {
    destination = kToScheduler;
    // Said always: without it a scheduler in a pod would take the size of the pod's group.
    if (!options.passed_on.contains("pipeline-parallel-size"))
      add("pipeline-parallel-size", absl::StrCat(options.num_stages));
  }
  if (role == Role::kModelLoader) destination = kToModelLoader;
  if (role == Role::kStageWorker) {
    destination = kToStageWorker;
    add("scheduler", peers.scheduler);
    add("model-loader", peers.model_loader);
    add("stage-index", absl::StrCat(index));
  }
  for (const auto& [name, values] : options.passed_on) {
    if ((FindServeFlag(name)->destinations & destination) == 0 || name == kSecretFlag) continue;
    for (const std::string& value : values)
      if (FindServeFlag(name)->shape == FlagShape::kSwitch)
        arguments.push_back(absl::StrCat("--", name, "=", value));
      else
        add(name, value);
  }
  return arguments;
}

std::vector<std::string> EnvironmentOf(Role role, const ServeOptions& options) {
  const auto keys = options.passed_on.find(kSecretFlag);
  if (role != Role::kGateway || keys == options.passed_on.end()) return {};
  return {absl::StrCat("BATON_API_KEY=", absl::StrJoin(keys->second, ","))};
}

}  // namespace baton
