#include "tools/plan/step_cost_report.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"

#include "common/model/stage_floor.h"
#include "common/status/status_macros.h"
#include "tools/local_http/local_http.h"

namespace baton {
namespace {

using scheduler::CostTerms;
using scheduler::StepWork;

constexpr absl::string_view kPrefix = "baton_scheduler_step_cost_";
constexpr absl::Duration kTimeout = absl::Seconds(1);
constexpr size_t kMaxStages = 1024;
constexpr uint64_t kExampleContext = 2048;

// `key`="value" among a metric's labels; empty if it is not there.
std::string Label(absl::string_view labels, absl::string_view key) {
  for (absl::string_view label : absl::StrSplit(labels, ',')) {
    if (!absl::ConsumePrefix(&label, absl::StrCat(key, "=\""))) continue;
    absl::ConsumeSuffix(&label, "\"");
    return std::string(label);
  }
  return "";
}

// Takes in one line of /metrics, if it is about steps' costs.
void TakeLine(absl::string_view line, StepCostReport* report) {
  if (!absl::ConsumePrefix(&line, kPrefix)) return;
  const std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
  double value = 0;
  if (words.size() < 2 || !absl::SimpleAtod(words[1], &value)) return;
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(words[0], absl::MaxSplits('{', 1));
  const absl::string_view labels = absl::StripSuffix(parts.second, "}");
  if (parts.first == "expert_share") report->prices.expert_share = value;
  if (parts.first == "measured_steps") report->measured_steps = value;
  size_t stage = 0;
  if (!absl::SimpleAtoi(Label(labels, "stage"), &stage) || stage >= kMaxStages) return;
  if (parts.first == "error_ratio") {
    report->errors.resize(std::max(report->errors.size(), stage + 1));
    report->errors[stage] = value;
  }
  if (parts.first != "seconds") return;
  std::vector<CostTerms>& prices = report->prices.prior;
  prices.resize(std::max(prices.size(), stage + 1));
  for (size_t i = 0; i < CostTerms::kCount; ++i) {
    if (Label(labels, "term") == CostTerms::kNames[i]) prices[stage].values[i] = value;
  }
}

StepWork Decodes(uint64_t rows) {
  StepWork work;
  for (uint64_t i = 0; i < rows; ++i) work.Add(kExampleContext, 1, true);
  return work;
}

StepWork Chunk(uint64_t begin) {
  StepWork work;
  work.Add(begin, 2048, false);
  return work;
}

}  // namespace

StepCostReport StepCostFloor(const ModelConfig& config, const DeploymentPlan& plan) {
  StepCostReport report{.source =
                            "the floor of memory and arithmetic on an H200 per rank, from "
                            "config.json; nothing is measured"};
  report.prices.expert_share = ExpertShare(config);
  for (const StagePlan& stage : plan.stages) {
    const StageFloor floor =
        FloorOfStage(config, stage.shape, plan.options.num_ranks, DeviceSpeed());
    report.prices.prior.push_back(
        {.values = {floor.step, floor.experts, floor.token, floor.decode_kv, floor.chunk_kv,
                    floor.chunk_pair, floor.sampled, floor.absorbed_pair}});
  }
  return report;
}

absl::StatusOr<StepCostReport> ParseStepCostMetrics(const std::string& text, size_t num_stages) {
  StepCostReport report;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) TakeLine(line, &report);
  const size_t found = report.prices.prior.size();
  if (found == 0) return absl::NotFoundError("it exports no costs of steps");
  if (found != num_stages) {
    return absl::FailedPreconditionError(
        absl::StrCat("it has ", found, " stages, the plan ", num_stages));
  }
  return report;
}

absl::StatusOr<StepCostReport> FetchStepCost(const std::string& url, size_t num_stages) {
  absl::string_view rest = url;
  if (!absl::ConsumePrefix(&rest, "http://")) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", url, "\" is no URL such as http://127.0.0.1:9092/metrics"));
  }
  const std::pair<std::string, std::string> parts = absl::StrSplit(rest, absl::MaxSplits('/', 1));
  const std::pair<std::string, std::string> address =
      absl::StrSplit(parts.first, absl::MaxSplits(':', 1));
  int port = 0;
  if (!absl::SimpleAtoi(address.second, &port) || port < 1 || port > 65535) {
    return absl::InvalidArgumentError(absl::StrCat("\"", url, "\" has no port"));
  }
  const std::string path = absl::StrCat("/", parts.second.empty() ? "metrics" : parts.second);
  ASSIGN_OR_RETURN(const std::string text, LocalHttpGet(address.first, port, path, kTimeout));
  ASSIGN_OR_RETURN(StepCostReport report, ParseStepCostMetrics(text, num_stages));
  report.source = absl::StrFormat("as the scheduler at %s has fitted them to %.0f steps",
                                  parts.first, report.measured_steps);
  return report;
}

std::vector<StepExample> StepExamples() {
  std::vector<StepExample> examples;
  for (const uint64_t rows : {1, 8, 64, 256}) {
    examples.push_back({absl::StrCat("decode ", rows), Decodes(rows)});
  }
  examples.push_back({"prefill 2048 at 0", Chunk(0)});
  examples.push_back({"prefill 2048 at 30720", Chunk(30720)});
  return examples;
}

std::string StepCostAsText(const StepCostReport& report) {
  std::string text = absl::StrCat("\nTime of a step: ", report.source, ".\n\nus per unit of");
  for (const char* name : CostTerms::kNames) absl::StrAppendFormat(&text, "%14s", name);
  absl::StrAppend(&text, "\n");
  for (size_t stage = 0; stage < report.prices.prior.size(); ++stage) {
    absl::StrAppendFormat(&text, "%5d         ", stage);
    for (const double price : report.prices.prior[stage].values) {
      absl::StrAppendFormat(&text, "%14.4g", 1e6 * price);
    }
    if (stage < report.errors.size()) {
      absl::StrAppendFormat(&text, "  off by %.0f%%", 100 * report.errors[stage]);
    }
    absl::StrAppend(&text, "\n");
  }
  absl::StrAppendFormat(&text, "\n%-24s", absl::StrCat("ms (", kExampleContext, " of context)"));
  for (size_t stage = 0; stage < report.prices.prior.size(); ++stage) {
    absl::StrAppendFormat(&text, "%12s", absl::StrCat("stage ", stage));
  }
  absl::StrAppend(&text, "\n");
  for (const StepExample& example : StepExamples()) {
    absl::StrAppendFormat(&text, "%-24s", example.name);
    for (const CostTerms& prices : report.prices.prior) {
      const scheduler::StepCost cost(
          {.prior = {prices}, .expert_share = report.prices.expert_share});
      absl::StrAppendFormat(&text, "%12.2f", 1e3 * cost.Seconds(example.work));
    }
    absl::StrAppend(&text, "\n");
  }
  return text;
}

}  // namespace baton
