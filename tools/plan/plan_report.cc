#include "tools/plan/plan_report.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"

namespace baton {
namespace {

double InGigabytes(uint64_t bytes) { return static_cast<double>(bytes) / 1e9; }

std::string Extras(const StageShape& shape) {
  if (shape.has_embedding && shape.has_head) return "embedding, head";
  if (shape.has_embedding) return "embedding";
  if (shape.has_mtp) return "head, MTP";
  return shape.has_head ? "head" : "";
}

std::string LayerRange(const StageShape& shape) {
  return absl::StrCat(shape.layer_begin, "-", shape.layer_end - 1, " (",
                      shape.layer_end - shape.layer_begin, ")");
}

nlohmann::json StepCostJson(const StepCostReport& cost) {
  using scheduler::CostTerms;
  nlohmann::json stages = nlohmann::json::array();
  for (const CostTerms& prices : cost.prices.prior) {
    nlohmann::json terms = nlohmann::json::object();
    for (size_t i = 0; i < CostTerms::kCount; ++i) terms[CostTerms::kNames[i]] = prices.values[i];
    const scheduler::StepCost stage({.prior = {prices}, .expert_share = cost.prices.expert_share});
    nlohmann::json examples = nlohmann::json::object();
    for (const StepExample& example : StepExamples()) {
      examples[example.name] = stage.Seconds(example.work);
    }
    stages.push_back({{"prices_s", terms}, {"predicted_s", examples}});
  }
  return {{"source", cost.source},
          {"measured_steps", cost.measured_steps},
          {"expert_share", cost.prices.expert_share},
          {"stages", stages}};
}

}  // namespace

std::string PlanAsText(const DeploymentPlan& plan, const std::string& title) {
  const PlanOptions& options = plan.options;
  std::string text = absl::StrFormat(
      "%s: pipeline-parallel %d x tensor-parallel %d, %.1f GB per rank (%.1f GB usable)\n\n", title,
      options.num_stages, options.num_ranks, InGigabytes(options.memory_bytes),
      InGigabytes(plan.usable_bytes));
  absl::StrAppendFormat(&text, "%5s  %-12s  %-16s  %12s  %10s  %12s  %12s\n", "stage", "layers",
                        "also", "weights/rank", "workspace", "KV per token", "KV tokens");
  for (size_t i = 0; i < plan.stages.size(); ++i) {
    const StagePlan& stage = plan.stages[i];
    absl::StrAppendFormat(
        &text, "%5d  %-12s  %-16s  %9.2f GB  %7.2f GB  %10d B  %12d\n", i, LayerRange(stage.shape),
        Extras(stage.shape), InGigabytes(stage.weight_bytes + stage.derived_bytes),
        InGigabytes(options.workspace_bytes), stage.kv_bytes_per_token, stage.kv_tokens);
  }
  absl::StrAppendFormat(&text,
                        "\nKV cache: %d bytes per token over all stages (each rank of a "
                        "stage holds a copy), %d tokens fit\n",
                        plan.kv_bytes_per_token, plan.kv_tokens);
  if (plan.mtp_bytes > 0) {
    absl::StrAppendFormat(
        &text,
        options.speculates
            ? "MTP module: %.2f GB per rank of the last stage, counted above\n"
            : "MTP module: not loaded; with --speculative-config %.2f GB more per rank of the "
              "last stage\n",
        InGigabytes(plan.mtp_bytes));
  }
  absl::StrAppend(&text, plan.obstacle.empty()
                             ? "It fits.\n"
                             : absl::StrCat("It does not work: ", plan.obstacle, ".\n"));
  return text;
}

std::string PlanAsJson(const DeploymentPlan& plan, const StepCostReport& cost,
                       const std::string& title) {
  nlohmann::json stages = nlohmann::json::array();
  for (const StagePlan& stage : plan.stages) {
    stages.push_back({{"layer_begin", stage.shape.layer_begin},
                      {"layer_end", stage.shape.layer_end},
                      {"has_embedding", stage.shape.has_embedding},
                      {"has_head", stage.shape.has_head},
                      {"weight_bytes", stage.weight_bytes},
                      {"derived_bytes", stage.derived_bytes},
                      {"kv_bytes_per_token", stage.kv_bytes_per_token},
                      {"kv_tokens", stage.kv_tokens}});
  }
  const nlohmann::json root = {{"model", title},
                               {"pipeline_parallel_size", plan.options.num_stages},
                               {"tensor_parallel_size", plan.options.num_ranks},
                               {"memory_bytes", plan.options.memory_bytes},
                               {"usable_bytes", plan.usable_bytes},
                               {"workspace_bytes", plan.options.workspace_bytes},
                               {"max_model_len", plan.options.max_model_len},
                               {"stages", stages},
                               {"kv_bytes_per_token", plan.kv_bytes_per_token},
                               {"kv_tokens", plan.kv_tokens},
                               {"mtp_bytes", plan.mtp_bytes},
                               {"speculates", plan.options.speculates},
                               {"fits", plan.obstacle.empty()},
                               {"obstacle", plan.obstacle},
                               {"step_cost", StepCostJson(cost)}};
  return root.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace baton
