#include "tools/simulate/simulation_report.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"

namespace baton::simulate {
namespace {

struct Figure {
  std::string name;
  std::string key;  // in JSON
  double value = 0;
  const char* format = "%.2f";
};

// Nearest rank; 0 if there is none.
double Percentile(const std::vector<double>& sorted, double percent) {
  if (sorted.empty()) return 0;
  const double rank = std::ceil(percent / 100 * static_cast<double>(sorted.size()));
  return sorted[static_cast<size_t>(std::max(1.0, rank)) - 1];
}

void AddLatency(const char* name, const char* key, const std::vector<double>& sorted,
                std::vector<Figure>* figures) {
  for (const int percent : {50, 90, 99}) {
    figures->push_back({absl::StrFormat("p%d %s (ms)", percent, name),
                        absl::StrFormat("p%d_%s_ms", percent, key),
                        1e3 * Percentile(sorted, percent)});
  }
}

void AddUse(const char* name, const StageUse& use, std::vector<Figure>* figures) {
  const double steps = static_cast<double>(use.num_steps);
  figures->push_back({absl::StrCat(name, " steps"), absl::StrCat(name, "_steps"), steps, "%.0f"});
  if (use.num_steps == 0) return;
  figures->push_back({absl::StrCat("  tokens per step"), absl::StrCat(name, "_tokens_per_step"),
                      static_cast<double>(use.num_tokens) / steps, "%.1f"});
  for (size_t stage = 0; stage < use.compute.size(); ++stage) {
    figures->push_back({absl::StrFormat("  stage %d compute per step (ms)", stage),
                        absl::StrFormat("%s_stage%d_compute_ms", name, stage),
                        1e3 * use.compute[stage] / steps});
  }
  figures->push_back({"  bubble (%)", absl::StrCat(name, "_bubble_percent"), 100 * use.Bubble()});
}

std::vector<Figure> FiguresOf(const SimulationResult& result) {
  const StageUse all = result.All();
  std::vector<Figure> figures = {
      {"requests", "requests", static_cast<double>(result.num_requests), "%.0f"},
      {"refused", "refused", static_cast<double>(result.num_refused), "%.0f"},
      {"seconds", "seconds", result.seconds},
      {"input tokens per s", "input_tokens_per_s",
       static_cast<double>(result.input_tokens) / result.seconds, "%.0f"},
      {"output tokens per s", "output_tokens_per_s",
       static_cast<double>(result.output_tokens) / result.seconds, "%.0f"}};
  AddLatency("TTFT", "ttft", result.ttft, &figures);
  AddLatency("TPOT", "tpot", result.tpot, &figures);
  AddLatency("E2E", "e2e", result.e2e, &figures);
  for (size_t stage = 0; stage < all.compute.size(); ++stage) {
    figures.push_back({absl::StrFormat("stage %d used (%%)", stage),
                       absl::StrFormat("stage%d_used_percent", stage),
                       100 * all.compute[stage] / (all.compute[stage] + all.idle[stage])});
  }
  figures.push_back({"bubble (%)", "bubble_percent", 100 * all.Bubble()});
  figures.push_back({"ideal bubble (%)", "ideal_bubble_percent", 100 * result.IdealBubble()});
  AddUse("decode", result.decode, &figures);
  AddUse("prompt", result.prompt, &figures);
  figures.push_back(
      {"preemptions", "preemptions", static_cast<double>(result.num_preemptions), "%.0f"});
  if (result.drafts.num_rows > 0) {
    figures.push_back({"tokens per step of a sequence", "tokens_per_verified_step",
                       1 + static_cast<double>(result.drafts.num_accepted) /
                               static_cast<double>(result.drafts.num_rows),
                       "%.2f"});
  }
  figures.push_back({"mean KV used (%)", "mean_kv_used_percent", 100 * result.mean_kv_used});
  figures.push_back({"peak KV used (%)", "peak_kv_used_percent", 100 * result.peak_kv_used});
  return figures;
}

std::string Formatted(const Figure& figure) {
  const auto format = absl::ParsedFormat<'f'>::New(figure.format);
  return absl::StrFormat(*format, figure.value);
}

}  // namespace

std::string ReportAsText(const std::vector<NamedResult>& results) {
  // Rows in the order of the first result that has them; a figure that one lacks stays empty.
  std::vector<std::vector<Figure>> columns;
  std::vector<std::pair<std::string, std::string>> rows;  // key, name
  for (const NamedResult& named : results) {
    columns.push_back(FiguresOf(named.result));
    for (const Figure& figure : columns.back()) {
      const std::pair<std::string, std::string> row(figure.key, figure.name);
      if (std::find(rows.begin(), rows.end(), row) == rows.end()) rows.push_back(row);
    }
  }
  std::string text = absl::StrFormat("%-34s", "");
  for (const NamedResult& named : results) absl::StrAppendFormat(&text, "%16s", named.name);
  absl::StrAppend(&text, "\n");
  for (const auto& [key, name] : rows) {
    absl::StrAppendFormat(&text, "%-34s", name);
    for (const std::vector<Figure>& column : columns) {
      std::string value;
      for (const Figure& figure : column) {
        if (figure.key == key) value = Formatted(figure);
      }
      absl::StrAppendFormat(&text, "%16s", value);
    }
    absl::StrAppend(&text, "\n");
  }
  return text;
}

std::string ReportAsJson(const std::vector<NamedResult>& results) {
  nlohmann::json root = nlohmann::json::object();
  for (const NamedResult& named : results) {
    for (const Figure& figure : FiguresOf(named.result)) {
      root[named.name][figure.key] = figure.value;
    }
  }
  return root.dump(2) + "\n";
}

}  // namespace baton::simulate
