#include "tools/bench_serve/report.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "tools/bench_serve/statistics.h"

namespace baton::bench {
namespace {

constexpr size_t kReportWidth = 50;

struct MetricTitle {
  const char* name;
  const char* short_title;
  const char* title;
};
constexpr MetricTitle kTitles[] = {
    {"ttft", "TTFT", "Time to First Token"},
    {"tpot", "TPOT", "Time per Output Token (excl. 1st token)"},
    {"itl", "ITL", "Inter-token Latency"},
    {"e2el", "E2EL", "End-to-end Latency"},
    {"client_queue_time", "Client Queue Time", "Client-side Queueing"},
    {"e2el_including_client_queue", "E2EL incl. Client Queue",
     "Queue-inclusive End-to-end Latency"}};

std::string Rule(const std::string& title, char line) {
  const size_t rest = kReportWidth - std::min(kReportWidth, title.size());
  return absl::StrCat(std::string(rest / 2, line), title, std::string(rest - rest / 2, line), "\n");
}

std::string Whole(absl::string_view name, int64_t value) {
  return absl::StrFormat("%-40s %-10d\n", name, value);
}

std::string Decimal(absl::string_view name, double value) {
  return absl::StrFormat("%-40s %-10.2f\n", name, value);
}

// "99", "99.9".
std::string PercentName(double percent) { return absl::StrCat(percent); }

bool IsReported(const BenchOptions& options, absl::string_view name) {
  // Of waiting for a place there is nothing to say where there is always one.
  if (absl::StrContains(name, "client_queue") && options.max_concurrency == 0) return false;
  if (name == "e2el_including_client_queue" && std::isinf(options.arrivals.request_rate)) {
    return false;
  }
  for (const MetricName& wanted : options.percentile_metrics) {
    if (wanted == name) return true;
  }
  return false;
}

std::string MetricLines(const BenchOptions& options, const MetricTitle& metric,
                        const std::vector<double>& seconds) {
  const std::string name = metric.short_title;
  std::string text = Rule(metric.title, '-');
  absl::StrAppend(&text, Decimal(absl::StrCat("Mean ", name, " (ms):"), Mean(seconds) * 1000),
                  Decimal(absl::StrCat("Median ", name, " (ms):"), Percentile(seconds, 50) * 1000));
  for (const double percent : options.percentiles) {
    absl::StrAppend(&text, Decimal(absl::StrCat("P", PercentName(percent), " ", name, " (ms):"),
                                   Percentile(seconds, percent) * 1000));
  }
  return text;
}

std::string RateName(double rate) { return std::isinf(rate) ? "inf" : absl::StrCat(rate); }

nlohmann::ordered_json RateJson(double rate) {
  if (std::isinf(rate)) return "inf";
  return rate;
}

void AddArrivals(const BenchOptions& options, nlohmann::ordered_json* json) {
  const ArrivalOptions& arrivals = options.arrivals;
  (*json)["request_rate"] = RateJson(arrivals.request_rate);
  (*json)["burstiness"] = RateJson(arrivals.burstiness);
  (*json)["max_concurrency"] = nullptr;
  if (options.max_concurrency > 0) (*json)["max_concurrency"] = options.max_concurrency;
  if (arrivals.ramp_up == RampUp::kNone) return;
  (*json)["ramp_up_strategy"] = arrivals.ramp_up == RampUp::kLinear ? "linear" : "exponential";
  (*json)["ramp_up_start_rps"] = arrivals.start_rps;
  (*json)["ramp_up_end_rps"] = arrivals.end_rps;
}

void AddLatencies(const BenchOptions& options, const RunSummary& summary,
                  nlohmann::ordered_json* json) {
  for (const MetricTitle& metric : kTitles) {
    if (!IsReported(options, metric.name)) continue;
    const std::vector<double>& seconds = summary.latencies.at(metric.name);
    const auto add = [&](const std::string& kind, double value) {
      (*json)[absl::StrCat(kind, "_", metric.name, "_ms")] = value * 1000;
    };
    add("mean", Mean(seconds));
    add("median", Percentile(seconds, 50));
    add("std", StandardDeviation(seconds));
    for (const double percent : options.percentiles) {
      add(absl::StrCat("p", PercentName(percent)), Percentile(seconds, percent));
    }
  }
}

std::string SpecDecodeLines(const SpecDecodeFigures& figures) {
  std::string text = Rule("Speculative Decoding", '-');
  absl::StrAppend(&text, Decimal("Acceptance rate (%):", figures.acceptance_rate),
                  Decimal("Acceptance length:", figures.acceptance_length),
                  Whole("Drafts:", figures.num_drafts),
                  Whole("Draft tokens:", figures.num_draft_tokens),
                  Whole("Accepted tokens:", figures.num_accepted_tokens));
  if (figures.rate_by_position.empty()) return text;
  absl::StrAppend(&text, "Per-position acceptance (%):\n");
  for (size_t i = 0; i < figures.rate_by_position.size(); ++i) {
    absl::StrAppend(
        &text, Decimal(absl::StrCat("  Position ", i, ":"), figures.rate_by_position[i] * 100));
  }
  return text;
}

void AddSpecDecode(const SpecDecodeFigures& figures, nlohmann::ordered_json* json) {
  (*json)["spec_decode_acceptance_rate"] = figures.acceptance_rate;
  (*json)["spec_decode_acceptance_length"] = figures.acceptance_length;
  (*json)["spec_decode_num_drafts"] = figures.num_drafts;
  (*json)["spec_decode_draft_tokens"] = figures.num_draft_tokens;
  (*json)["spec_decode_accepted_tokens"] = figures.num_accepted_tokens;
  (*json)["spec_decode_per_position_acceptance_rates"] = figures.rate_by_position;
}

// vLLM writes these two whether or not the others of every request are asked for.
void AddWaits(const LoadResult& result, nlohmann::ordered_json* json) {
  for (const char* key : {"latencies", "queue_times"}) {
    (*json)[key] = nlohmann::ordered_json::array();
  }
  for (const RequestRecord& record : result.records) {
    (*json)["latencies"].push_back(record.latency);
    (*json)["queue_times"].push_back(record.queue_time);
  }
}

void AddRequests(const LoadResult& result, nlohmann::ordered_json* json) {
  for (const char* key :
       {"input_lens", "output_lens", "ttfts", "itls", "start_times", "generated_texts", "errors"}) {
    (*json)[key] = nlohmann::ordered_json::array();
  }
  for (const RequestRecord& record : result.records) {
    (*json)["input_lens"].push_back(record.num_prompt_tokens);
    (*json)["output_lens"].push_back(record.success ? record.num_output_tokens : 0);
    (*json)["ttfts"].push_back(record.ttft);
    (*json)["itls"].push_back(record.itls);
    (*json)["start_times"].push_back(record.start);
    (*json)["generated_texts"].push_back(record.text);
    (*json)["errors"].push_back(record.error);
  }
}

bool EndsInsideALine(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  char last = '\n';
  return file.seekg(-1, std::ios::end) && file.get(last) && last != '\n';
}

}  // namespace

std::string TextReport(const BenchOptions& options, const RunSummary& summary) {
  std::string text = Rule(" Serving Benchmark Result ", '=');
  absl::StrAppend(&text, Whole("Successful requests:", summary.num_completed),
                  Whole("Failed requests:", summary.num_failed));
  if (options.max_concurrency > 0) {
    absl::StrAppend(&text, Whole("Maximum request concurrency:", options.max_concurrency));
  }
  if (!std::isinf(options.arrivals.request_rate)) {
    absl::StrAppend(&text,
                    Decimal("Request rate configured (RPS):", options.arrivals.request_rate));
  }
  absl::StrAppend(&text, Decimal("Benchmark duration (s):", summary.duration),
                  Whole("Total input tokens:", summary.num_input_tokens),
                  Whole("Total generated tokens:", summary.num_output_tokens),
                  Decimal("Request throughput (req/s):", summary.request_throughput));
  if (!options.goodput.empty()) {
    absl::StrAppend(&text, Decimal("Request goodput (req/s):", summary.request_goodput));
  }
  absl::StrAppend(
      &text, Decimal("Output token throughput (tok/s):", summary.output_throughput),
      Decimal("Peak output token throughput (tok/s):", summary.peak_output_throughput),
      Decimal("Peak concurrent requests:", static_cast<double>(summary.peak_concurrent_requests)),
      Decimal("Total token throughput (tok/s):", summary.total_throughput));
  for (const MetricTitle& metric : kTitles) {
    if (!IsReported(options, metric.name)) continue;
    absl::StrAppend(&text, MetricLines(options, metric, summary.latencies.at(metric.name)));
  }
  if (summary.spec_decode.has_value()) {
    absl::StrAppend(&text, SpecDecodeLines(*summary.spec_decode));
  }
  return absl::StrCat(text, Rule("", '='));
}

nlohmann::ordered_json JsonReport(const BenchOptions& options, const std::string& model,
                                  const LoadResult& result, const RunSummary& summary,
                                  const std::string& date) {
  nlohmann::ordered_json json;
  json["date"] = date;
  json["endpoint_type"] = options.backend;
  json["backend"] = options.backend;
  json["label"] = nullptr;
  if (!options.label.empty()) json["label"] = options.label;
  json["model_id"] = model;
  json["tokenizer_id"] = options.tokenizer.empty() ? model : options.tokenizer;
  json["num_prompts"] = options.num_prompts;
  for (const auto& [key, value] : options.metadata) json[key] = value;
  AddArrivals(options, &json);
  json["duration"] = summary.duration;
  json["completed"] = summary.num_completed;
  json["failed"] = summary.num_failed;
  json["total_input_tokens"] = summary.num_input_tokens;
  json["total_output_tokens"] = summary.num_output_tokens;
  json["request_throughput"] = summary.request_throughput;
  json["request_goodput"] = nullptr;
  if (!options.goodput.empty()) json["request_goodput"] = summary.request_goodput;
  json["output_throughput"] = summary.output_throughput;
  json["total_token_throughput"] = summary.total_throughput;
  json["max_output_tokens_per_s"] = summary.peak_output_throughput;
  json["max_concurrent_requests"] = summary.peak_concurrent_requests;
  AddWaits(result, &json);
  if (options.save_detailed) AddRequests(result, &json);
  AddLatencies(options, summary, &json);
  if (summary.spec_decode.has_value()) AddSpecDecode(*summary.spec_decode, &json);
  return json;
}

std::string ResultPath(const BenchOptions& options, const std::string& model,
                       const std::string& date) {
  std::string name = options.result_filename;
  if (name.empty()) {
    name = absl::StrCat(
        options.label.empty() ? options.backend : options.label, "-",
        RateName(options.arrivals.request_rate), "qps",
        options.max_concurrency > 0 ? absl::StrCat("-concurrency", options.max_concurrency) : "",
        "-", std::filesystem::path(model).filename().string(), "-", date, ".json");
  }
  return (std::filesystem::path(options.result_dir) / name).string();
}

absl::Status WriteResult(const std::string& path, const nlohmann::ordered_json& json, bool append) {
  std::error_code ignored;  // the file that cannot be written is what is told
  const auto folder = std::filesystem::path(path).parent_path();
  if (!folder.empty()) std::filesystem::create_directories(folder, ignored);
  const bool completes_a_line = append && EndsInsideALine(path);
  std::ofstream file(path, append ? std::ios::app : std::ios::trunc);
  if (completes_a_line) file << "\n";
  file << json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  file.close();
  if (file) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cannot write ", path));
}

}  // namespace baton::bench
