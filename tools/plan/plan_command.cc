#include "tools/plan/plan_command.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <ostream>
#include <sstream>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

#include "common/config/byte_size.h"
#include "common/config/nearest_name.h"
#include "common/config/token_count.h"
#include "common/model/speculative_config.h"
#include "common/status/status_macros.h"
#include "services/model_loader/format/checkpoint_index.h"
#include "tools/plan/plan_report.h"
#include "tools/plan/step_cost_report.h"

namespace baton {
namespace {

constexpr absl::string_view kHelp =
    "baton plan MODEL_DIR [flags]: the layer split, bytes per rank and KV capacity of a model,\n"
    "from its config.json (and the index, if it is there) alone\n\n"
    "example:\n"
    "  baton plan /models/DeepSeek-R1 --pipeline-parallel-size 2 --tensor-parallel-size 8 "
    "--memory-per-rank 96GB\n\n"
    "flags:\n"
    "  --pipeline-parallel-size, -pp (default: 1)\n"
    "  --tensor-parallel-size, -tp (default: 1)\n"
    "  --memory-per-rank (default: 96GB)    of one device; MB, GB, MiB, GiB\n"
    "  --gpu-memory-utilization (default: 0.92)    part of it that may be used\n"
    "  --workspace (default: 3GB)    activations and buffers of one rank\n"
    "  --max-model-len (default: auto, config.json's)    a sequence of this length must fit\n"
    "  --dtype (default: auto)    auto, bfloat16 or float32: computation and KV cache\n"
    "  --speculative-config    as of baton serve: the last stage has the MTP module too\n"
    "  --scheduler-metrics (default: none)    of a running group of this model, such as\n"
    "      http://127.0.0.1:9092/metrics: its measured times of steps are then printed, not "
    "floors\n"
    "  --json    for programs\n";

const std::vector<std::string>& FlagNames() {
  static const auto* names = new std::vector<std::string>{"pipeline-parallel-size",
                                                          "tensor-parallel-size",
                                                          "memory-per-rank",
                                                          "gpu-memory-utilization",
                                                          "workspace",
                                                          "max-model-len",
                                                          "dtype",
                                                          "speculative-config",
                                                          "scheduler-metrics",
                                                          "json",
                                                          "help"};
  return *names;
}

struct Command {
  std::string folder;
  PlanOptions options;
  std::string speculative_config;  // empty: none
  std::string scheduler_metrics;   // empty: none is asked
  bool json = false;
  bool help = false;
};

absl::Status BadValue(absl::string_view flag, absl::string_view value, absl::string_view wanted) {
  return absl::InvalidArgumentError(
      absl::StrCat("--", flag, " is \"", value, "\"; wanted ", wanted));
}

absl::Status SetDtype(absl::string_view value, PlanOptions& options) {
  if (value == "auto" || value == "bfloat16") {
    options.compute_type = DataType::kBFloat16;
  } else if (value == "float32") {
    options.compute_type = DataType::kFloat32;
  } else {
    return BadValue("dtype", value, "auto, bfloat16 or float32");
  }
  return absl::OkStatus();
}

absl::Status SetFlag(absl::string_view name, absl::string_view value, PlanOptions& options) {
  if (name == "dtype") return SetDtype(value, options);
  if (name == "pipeline-parallel-size" || name == "tensor-parallel-size") {
    int& size = name == "pipeline-parallel-size" ? options.num_stages : options.num_ranks;
    if (!absl::SimpleAtoi(value, &size)) return BadValue(name, value, "a whole number");
  } else if (name == "max-model-len") {
    const absl::StatusOr<int64_t> num_tokens = ParseTokenCount(value);
    if (!num_tokens.ok()) return BadValue(name, value, "a number of tokens (32768, 32k) or auto");
    options.max_model_len = *num_tokens;
  } else if (name == "gpu-memory-utilization") {
    if (!absl::SimpleAtod(value, &options.memory_utilization)) {
      return BadValue(name, value, "a number");
    }
  } else {
    const absl::StatusOr<uint64_t> bytes = ParseByteSize(value);
    if (!bytes.ok()) return BadValue(name, value, "a size such as 96GB or 80GiB");
    (name == "workspace" ? options.workspace_bytes : options.memory_bytes) = *bytes;
  }
  return absl::OkStatus();
}

absl::StatusOr<Command> Parse(const std::vector<std::string>& words) {
  Command command;
  for (size_t i = 0; i < words.size(); ++i) {
    std::string name = words[i];
    if (name == "-pp" || absl::StartsWith(name, "-pp=")) name.replace(0, 3, "--" + FlagNames()[0]);
    if (name == "-tp" || absl::StartsWith(name, "-tp=")) name.replace(0, 3, "--" + FlagNames()[1]);
    if (name == "-h") name = "--help";
    if (!absl::StartsWith(name, "--")) {
      if (!command.folder.empty()) {
        return absl::InvalidArgumentError(absl::StrCat("one model, not also \"", name, "\""));
      }
      command.folder = name;
      continue;
    }
    name.erase(0, 2);
    const size_t equals = name.find('=');
    std::string value = equals == std::string::npos ? "" : name.substr(equals + 1);
    name = absl::StrReplaceAll(name.substr(0, equals), {{"_", "-"}});
    const auto& names = FlagNames();
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      const std::string nearest = NearestName(name, names);
      return absl::InvalidArgumentError(
          absl::StrCat("unknown flag --", name,
                       nearest.empty() ? "" : absl::StrCat("; did you mean --", nearest, "?")));
    }
    if (name == "json" || name == "help") {
      (name == "json" ? command.json : command.help) = true;
      continue;
    }
    if (equals == std::string::npos) {
      if (++i == words.size()) {
        return absl::InvalidArgumentError(absl::StrCat("--", name, " wants a value"));
      }
      value = words[i];
    }
    if (name == "scheduler-metrics") {
      command.scheduler_metrics = value;
      continue;
    }
    if (name == "speculative-config") {
      command.speculative_config = value;
      continue;
    }
    RETURN_IF_ERROR(SetFlag(name, value, command.options));
  }
  if (command.folder.empty() && !command.help) {
    return absl::InvalidArgumentError("which model? a folder with a config.json is wanted");
  }
  return command;
}

// The index, where there is one, names exactly the tensors that the model wants.
absl::Status CheckIndex(const std::string& folder, const ModelConfig& config) {
  const std::string path = absl::StrCat(folder, "/", loader::kIndexFileName);
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return absl::OkStatus();
  if (std::filesystem::file_size(path, error) > loader::kMaxIndexBytes) {
    return absl::InvalidArgumentError(absl::StrCat(loader::kIndexFileName, " is too large"));
  }
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  ASSIGN_OR_RETURN(const std::vector<loader::IndexEntry> entries,
                   loader::ParseCheckpointIndex(text.str()));
  absl::flat_hash_set<std::string> stored;
  for (const loader::IndexEntry& entry : entries) stored.insert(entry.tensor);
  for (const WeightSpec& spec : CheckpointInventory(config)) {
    if (stored.erase(spec.name) == 1) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(loader::kIndexFileName, " lacks tensor \"", spec.name, "\""));
  }
  if (stored.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      loader::kIndexFileName, " has tensor \"", *std::min_element(stored.begin(), stored.end()),
      "\", which does not belong to the model of config.json"));
}

struct Report {
  DeploymentPlan plan;
  StepCostReport cost;
};

// What the group that was named has measured; the floor if none was.
absl::StatusOr<StepCostReport> StepCostOf(const Command& command, const ModelConfig& config,
                                          const DeploymentPlan& plan,
                                          const StepCostSource& source) {
  if (command.scheduler_metrics.empty()) return StepCostFloor(config, plan);
  absl::StatusOr<StepCostReport> measured = source(command.scheduler_metrics, plan.stages.size());
  if (measured.ok()) return measured;
  return absl::Status(measured.status().code(),
                      absl::StrCat(command.scheduler_metrics, ": ", measured.status().message()));
}

absl::StatusOr<Report> MakeReport(const Command& command, const StepCostSource& source) {
  ASSIGN_OR_RETURN(const std::string text, ReadModelConfigText(command.folder));
  ASSIGN_OR_RETURN(const ModelConfig config, ParseModelConfig(text));
  RETURN_IF_ERROR(CheckIndex(command.folder, config));
  ASSIGN_OR_RETURN(const uint32_t num_speculative_tokens,
                   ParseSpeculativeConfig(command.speculative_config, config));
  PlanOptions options = command.options;
  options.speculates = num_speculative_tokens > 0;
  ASSIGN_OR_RETURN(DeploymentPlan plan, PlanDeployment(config, options));
  ASSIGN_OR_RETURN(StepCostReport cost, StepCostOf(command, config, plan, source));
  return Report{std::move(plan), std::move(cost)};
}

}  // namespace

int RunPlan(const std::vector<std::string>& words, std::ostream& out, std::ostream& err,
            const StepCostSource& source) {
  const absl::StatusOr<Command> command = Parse(words);
  if (!command.ok()) {
    err << "baton plan: " << command.status().message() << "\ntry `baton plan --help`\n";
    return 2;
  }
  if (command->help) {
    out << kHelp;
    return 0;
  }
  const absl::StatusOr<Report> report = MakeReport(*command, source);
  if (!report.ok()) {
    err << "baton plan: " << report.status().message() << "\n";
    return 1;
  }
  const DeploymentPlan& plan = report->plan;
  out << (command->json ? PlanAsJson(plan, report->cost, command->folder)
                        : PlanAsText(plan, command->folder) + StepCostAsText(report->cost));
  return plan.obstacle.empty() ? 0 : 1;
}

}  // namespace baton
