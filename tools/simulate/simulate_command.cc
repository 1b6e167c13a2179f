#include "tools/simulate/simulate_command.h"

#include <algorithm>
#include <fstream>
#include <functional>
#include <ostream>
#include <sstream>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/time.h"

#include "common/config/nearest_name.h"
#include "common/model/model_config.h"
#include "common/model/stage_floor.h"
#include "common/model/weight_inventory.h"
#include "common/status/status_macros.h"
#include "tools/simulate/simulation.h"
#include "tools/simulate/simulation_report.h"

namespace baton::simulate {
namespace {

struct Command {
  WorkloadOptions workload;
  std::string trace;
  SimulationOptions simulation;
  std::string folder;  // of the model; empty: DeepSeek-R1
  uint32_t num_stages = 2;
  uint32_t num_ranks = 8;  // of a stage, for a model from a folder
  double efficiency = 0.5;
  bool compare = false;
  bool json = false;
  bool help = false;
};

// A flag that takes a value. `set` returns false if it does not understand it.
struct Flag {
  std::string name;
  std::string help;
  std::string wanted;
  std::function<bool(const std::string& value, Command& command)> set;
};

bool SetNumber(const std::string& value, uint32_t low, uint32_t high, uint32_t* number) {
  return absl::SimpleAtoi(value, number) && *number >= low && *number <= high;
}

bool SetSpread(const std::string& value, LengthSpread* spread) {
  if (value == "fixed") *spread = LengthSpread::kFixed;
  if (value == "uniform") *spread = LengthSpread::kUniform;
  if (value == "exponential") *spread = LengthSpread::kExponential;
  return value == "fixed" || value == "uniform" || value == "exponential";
}

// Microseconds to seconds.
bool SetMicros(const std::string& value, double* seconds) {
  double micros = 0;
  if (!absl::SimpleAtod(value, &micros) || !(micros >= 0 && micros <= 1e6)) return false;
  *seconds = micros * 1e-6;
  return true;
}

Flag Count(const char* name, const char* help, uint32_t low, uint32_t high,
           std::function<uint32_t*(Command&)> place) {
  return {name, help, absl::StrCat("a whole number, ", low, " to ", high),
          [=](const std::string& value, Command& command) {
            return SetNumber(value, low, high, place(command));
          }};
}

Flag Micros(const char* name, const char* help, std::function<double*(Command&)> place) {
  return {
      name, help, "microseconds, 0 to 1000000",
      [=](const std::string& value, Command& command) { return SetMicros(value, place(command)); }};
}

Flag Spread(const char* name, const char* help, std::function<LengthSpread*(Command&)> place) {
  return {
      name, help, "fixed, uniform or exponential",
      [=](const std::string& value, Command& command) { return SetSpread(value, place(command)); }};
}

std::vector<Flag> LoadFlags() {
  return {
      {"trace",
       "requests from a file: a line of JSON each, with timestamp (ms), input_length and "
       "output_length; else they are made from what follows",
       "a file",
       [](const std::string& value, Command& command) {
         command.trace = value;
         return !value.empty();
       }},
      Count("num-requests", "default: 1000", 1, 10'000'000,
            [](Command& c) { return &c.workload.num_requests; }),
      {"request-rate", "requests per second, Poisson; default: inf, all at once",
       "a number above 0, or inf",
       [](const std::string& value, Command& command) {
         double& rate = command.workload.request_rate;
         rate = 0;
         if (value == "inf") return true;
         return absl::SimpleAtod(value, &rate) && rate > 0 && rate < 1e9;
       }},
      Count("input-len", "mean tokens of a prompt; default: 1024", 1, 1 << 20,
            [](Command& c) { return &c.workload.input_tokens; }),
      Count("output-len", "mean tokens of an answer; default: 256", 1, 1 << 20,
            [](Command& c) { return &c.workload.output_tokens; }),
      Spread("input-spread", "of prompts around their mean; default: fixed",
             [](Command& c) { return &c.workload.input_spread; }),
      Spread("output-spread", "of answers around their mean; default: fixed",
             [](Command& c) { return &c.workload.output_spread; }),
      {"seed", "another load of the same kind; default: 1", "a whole number",
       [](const std::string& value, Command& command) {
         return absl::SimpleAtoi(value, &command.workload.seed);
       }},
  };
}

std::vector<Flag> GroupFlags() {
  return {
      Count("pipeline-parallel-size", "stages; also -pp; default: 2", 1, 61,
            [](Command& c) { return &c.num_stages; }),
      Count("tensor-parallel-size", "ranks of a stage, with MODEL_DIR; also -tp; default: 8", 1,
            1024, [](Command& c) { return &c.num_ranks; }),
      Count("max-num-batched-tokens", "most tokens of one step; default: 2048", 1, 1 << 20,
            [](Command& c) { return &c.simulation.schedule.max_step_tokens; }),
      Count("max-num-seqs", "most sequences that run at a time; default: 256", 1, 1 << 16,
            [](Command& c) { return &c.simulation.schedule.max_running; }),
      Count("max-num-queued-reqs", "most requests that wait; default: 10000000", 1, 10'000'000,
            [](Command& c) { return &c.simulation.schedule.max_waiting; }),
      Count("max-steps-in-flight", "default: the pipeline-parallel size", 1, 1024,
            [](Command& c) { return &c.simulation.schedule.max_steps_in_flight; }),
      Count("lookahead-steps", "decodes ordered before their token is known; default: 0", 0, 16,
            [](Command& c) { return &c.simulation.schedule.lookahead_steps; }),
      Count("num-speculative-tokens", "guessed behind each one, and checked; default: 0", 1, 8,
            [](Command& c) { return &c.simulation.schedule.num_speculative_tokens; }),
      {"acceptance", "how often a guess is right, if those before it were; default: 0.85",
       "a number from 0 to 1",
       [](const std::string& value, Command& command) {
         double& acceptance = command.simulation.acceptance;
         return absl::SimpleAtod(value, &acceptance) && acceptance >= 0 && acceptance <= 1;
       }},
      Count("long-prefill-token-threshold", "most tokens of one prompt in a step", 1, 1 << 20,
            [](Command& c) { return &c.simulation.schedule.max_chunk_tokens; }),
      {"max-step-time", "prompts are cut so that no step takes longer; default: 0, not",
       "a time such as 40ms",
       [](const std::string& value, Command& command) {
         absl::Duration time;
         if (!absl::ParseDuration(value, &time) || time < absl::ZeroDuration()) return false;
         command.simulation.schedule.max_step_seconds = absl::ToDoubleSeconds(time);
         return true;
       }},
      Count("max-model-len", "tokens of prompt and answer together; default: what the model takes",
            2, 1 << 24, [](Command& c) { return &c.simulation.schedule.max_model_len; }),
      Count("num-blocks", "blocks of KV cache, of 64 tokens; default: 18671, what 96 GB hold", 1,
            UINT32_MAX, [](Command& c) { return &c.simulation.num_blocks; }),
      {"efficiency", "of the stages, of the floor that memory and arithmetic set; default: 0.5",
       "a number above 0 to 1",
       [](const std::string& value, Command& command) {
         double& efficiency = command.efficiency;
         return absl::SimpleAtod(value, &efficiency) && efficiency > 0 && efficiency <= 1;
       }},
      Micros("command-us", "scheduler to stage; default: 100",
             [](Command& c) { return &c.simulation.wires.command; }),
      Micros("report-us", "stage to scheduler; default: 100",
             [](Command& c) { return &c.simulation.wires.report; }),
      Micros("hop-us", "stage to stage, the first byte; default: 30",
             [](Command& c) { return &c.simulation.wires.hop; }),
  };
}

const std::vector<Flag>& Flags() {
  static const auto* flags = [] {
    auto* all = new std::vector<Flag>(LoadFlags());
    for (Flag& flag : GroupFlags()) all->push_back(std::move(flag));
    return all;
  }();
  return *flags;
}

Command Defaults() {
  Command command;
  command.simulation.num_blocks = 18671;
  scheduler::ScheduleOptions& schedule = command.simulation.schedule;
  schedule.max_steps_in_flight = 0;
  schedule.prefix_caching = false;  // made-up prompts have nothing in common
  schedule.max_waiting = 10'000'000;
  schedule.max_model_len = 0;
  return command;
}

std::string HelpText() {
  std::string text =
      "baton simulate [MODEL_DIR] [flags]: serves a load with the scheduler's own core against\n"
      "modelled stages on a virtual clock, and tells what the stages and the callers would see.\n"
      "Without MODEL_DIR the model is DeepSeek-R1; with it, that of its config.json.\n\n"
      "example:\n"
      "  baton simulate --num-requests 2000 --request-rate 12 --input-len 2000 --output-len 500 "
      "\\\n"
      "    --output-spread exponential --efficiency 0.6\n\n"
      "flags:\n";
  for (const Flag& flag : Flags())
    absl::StrAppend(&text, "  --", flag.name, "    ", flag.help, "\n");
  absl::StrAppend(&text,
                  "  --compare    also without knowledge of what steps cost: sequences shared by "
                  "their number\n  --json    for programs\n");
  return text;
}

absl::Status ReadFlag(const std::string& name, const std::string& value, Command& command) {
  for (const Flag& flag : Flags()) {
    if (flag.name != name) continue;
    if (flag.set(value, command)) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("--", name, " is \"", value, "\"; wanted ", flag.wanted));
  }
  std::vector<std::string> names = {"compare", "json", "help"};
  for (const Flag& flag : Flags()) names.push_back(flag.name);
  const std::string nearest = NearestName(name, names);
  return absl::InvalidArgumentError(
      absl::StrCat("unknown flag --", name,
                   nearest.empty() ? "" : absl::StrCat("; did you mean --", nearest, "?")));
}

absl::StatusOr<Command> Parse(const std::vector<std::string>& words) {
  Command command = Defaults();
  for (size_t i = 0; i < words.size(); ++i) {
    std::string word = words[i];
    if (word == "-h") word = "--help";
    if (word == "-tp" || absl::StartsWith(word, "-tp=")) {
      word.replace(0, 3, "--tensor-parallel-size");
    }
    if (word == "-pp" || absl::StartsWith(word, "-pp=")) {
      word.replace(0, 3, "--pipeline-parallel-size");
    }
    if (!absl::StartsWith(word, "--")) {
      if (!command.folder.empty()) {
        return absl::InvalidArgumentError(absl::StrCat("unexpected argument \"", word, "\""));
      }
      command.folder = word;
      continue;
    }
    const size_t equals = word.find('=');
    const std::string name = absl::StrReplaceAll(word.substr(2, equals - 2), {{"_", "-"}});
    if (name == "json") command.json = true;
    if (name == "help") command.help = true;
    if (name == "compare") command.compare = true;
    if (name == "json" || name == "help" || name == "compare") continue;
    if (equals == std::string::npos && i + 1 == words.size()) {
      return absl::InvalidArgumentError(absl::StrCat("--", name, " wants a value"));
    }
    RETURN_IF_ERROR(ReadFlag(
        name, equals == std::string::npos ? words[++i] : word.substr(equals + 1), command));
  }
  return command;
}

// Sizes and times of the model, and what follows from others.
absl::Status Resolve(Command& command) {
  scheduler::ScheduleOptions& schedule = command.simulation.schedule;
  schedule.vocab_size = 129280;
  uint32_t longest = 163840;
  if (command.folder.empty()) {
    schedule.step_cost = R1StepCost(command.num_stages);
    command.simulation.stages = StageTimes(command.num_stages, command.efficiency);
  } else {
    ASSIGN_OR_RETURN(const std::string text, ReadModelConfigText(command.folder));
    ASSIGN_OR_RETURN(const ModelConfig config, ParseModelConfig(text));
    const int num_ranks = static_cast<int>(command.num_ranks);
    RETURN_IF_ERROR(CheckTensorParallelSize(config, num_ranks));
    ASSIGN_OR_RETURN(const std::vector<StageShape> shapes,
                     SplitLayers(config, static_cast<int>(command.num_stages)));
    schedule.step_cost.expert_share = ExpertShare(config);
    for (const StageShape& shape : shapes) {
      const StageFloor floor = FloorOfStage(config, shape, num_ranks, DeviceSpeed());
      schedule.step_cost.prior.push_back(
          {.values = {floor.step, floor.experts, floor.token, floor.decode_kv, floor.chunk_kv,
                      floor.chunk_pair, floor.sampled}});
    }
    command.simulation.stages = StageTimes(schedule.step_cost, command.efficiency);
    schedule.vocab_size = static_cast<uint32_t>(config.vocab_size);
    longest = static_cast<uint32_t>(config.max_positions);
  }
  if (schedule.max_model_len == 0) schedule.max_model_len = longest;
  if (schedule.max_steps_in_flight == 0) schedule.max_steps_in_flight = command.num_stages;
  command.workload.max_tokens = schedule.max_model_len;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<SimulatedRequest>> Requests(const Command& command) {
  if (command.trace.empty()) return MakeWorkload(command.workload);
  std::ifstream file(command.trace, std::ios::binary);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf())) {
    return absl::NotFoundError(absl::StrCat("cannot read the trace ", command.trace));
  }
  return ParseTrace(text.str());
}

}  // namespace

int RunSimulate(const std::vector<std::string>& words, std::ostream& out, std::ostream& err) {
  absl::StatusOr<Command> command = Parse(words);
  if (!command.ok()) {
    err << "baton simulate: " << command.status().message() << "\ntry `baton simulate --help`\n";
    return 2;
  }
  if (command->help) {
    out << HelpText();
    return 0;
  }
  absl::Status status = Resolve(*command);
  const auto requests = status.ok() ? Requests(*command) : status;
  if (!requests.ok()) {
    err << "baton simulate: " << requests.status().message() << "\n";
    return 1;
  }
  std::vector<NamedResult> results = {{"by time", Simulate(command->simulation, *requests)}};
  if (command->compare) {
    SimulationOptions blind = command->simulation;
    blind.schedule.step_cost = {};
    results.push_back({"by number", Simulate(blind, *requests)});
  }
  out << (command->json ? ReportAsJson(results) : ReportAsText(results));
  return 0;
}

}  // namespace baton::simulate
