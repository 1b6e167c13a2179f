// A run's report, with the lines and JSON keys of `vllm bench serve`.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "nlohmann/json.hpp"

#include "tools/bench_serve/bench_options.h"
#include "tools/bench_serve/run_summary.h"

namespace baton::bench {

std::string TextReport(const BenchOptions& options, const RunSummary& summary);

// `date`: "20260131-235959". Of every request latency and queue time; the other figures
// only with --save-detailed.
nlohmann::ordered_json JsonReport(const BenchOptions& options, const std::string& model,
                                  const LoadResult& result, const RunSummary& summary,
                                  const std::string& date);

// Path of the result file.
std::string ResultPath(const BenchOptions& options, const std::string& model,
                       const std::string& date);

// Writes `json` as one line; with `append` after the lines that the file has, of which the last may
// lack its end, as in a file of vLLM's. Makes the folder.
// Errors: Unavailable.
absl::Status WriteResult(const std::string& path, const nlohmann::ordered_json& json, bool append);

}  // namespace baton::bench
