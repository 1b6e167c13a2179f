// The figures of a run, by the definitions of `vllm bench serve`.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tools/bench_serve/load_run.h"
#include "tools/bench_serve/spec_decode.h"

namespace baton::bench {

struct RunSummary {
  int64_t num_completed = 0;
  int64_t num_failed = 0;
  int64_t num_input_tokens = 0;  // of requests that completed, as all below
  int64_t num_output_tokens = 0;
  double duration = 0;            // seconds
  double request_throughput = 0;  // a second, as all below
  double request_goodput = 0;     // requests that meet every limit
  double output_throughput = 0;
  double total_throughput = 0;
  double peak_output_throughput = 0;  // chunks in the best second of the run
  int64_t peak_concurrent_requests = 0;
  // Seconds, over requests (over chunks for "itl"), by each MetricName. A request with fewer than
  // two tokens has no tpot.
  std::map<std::string, std::vector<double>> latencies;
  std::optional<SpecDecodeFigures> spec_decode;  // not of the requests: of the server's counters
};

// `goodput`: milliseconds by "ttft", "tpot", "e2el"; a request with fewer than two tokens has a
// tpot of 0 here. `spec_decode` is left out.
RunSummary Summarize(const LoadResult& result, const std::map<std::string, double>& goodput);

}  // namespace baton::bench
